--[[
Let the strikes of one player count no more, on whatever ladder.

KEYS   1  PREFIX:{ACCOUNT}:strikes, see strike.lua
RESULT how many strikes counted until now; 0 when asked again
TTL    none is set: the key keeps its own

Reads no clock.
]]
local forgiven, entries = 0, redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  if entries[i + 1]:sub(-1) == 'c' then
    redis.call('HSET', KEYS[1], entries[i], entries[i + 1]:sub(1, -2) .. 'r')
    forgiven = forgiven + 1
  end
end
return forgiven
