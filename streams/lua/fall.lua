--[[
Note that a revision of a rule left its band, unless it is noted, or a human lifted it since the window began.

KEYS   1  PREFIX:{bands}:fallen, a hash: "RULE REVISION" -> JSON of what was seen
       2  PREFIX:{bands}:lifted, a hash: "RULE REVISION" -> when a human lifted it, ms
ARGV   1  "RULE REVISION"
       2  JSON of what was seen
       3  when the window began, ms
       4  TTL, ms
RESULT 1 if it fell by this call, else 0
TTL    ARGV[4] from the last one that fell

Reads no clock.
]]
local lifted = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '-1')
if lifted >= tonumber(ARGV[3]) or redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
