--[[
Mark one action as reverted, once: its sanction is no longer in force and the strike behind it no longer counts.

KEYS   1  PREFIX:{ACCOUNT}:action:ACTION_ID, see record.lua
       2  PREFIX:{ACCOUNT}:live, see record.lua
       3  PREFIX:{ACCOUNT}:strikes, see strike.lua; left out where the action climbed no ladder
ARGV   1  action_id
       2  the revert as JSON
       3  event_id of the strike; "" where there is no KEYS[3]
RESULT JSON of the revert that counts: the first one; nil if the action is not known
TTL    none is set: every key keeps its own

Reads no clock.
]]
if redis.call('HEXISTS', KEYS[1], 'action') == 0 then
  return false
end
if redis.call('HSETNX', KEYS[1], 'reverted', ARGV[2]) == 0 then
  return redis.call('HGET', KEYS[1], 'reverted')
end
redis.call('ZREM', KEYS[2], ARGV[1])
if KEYS[3] then
  local strike = redis.call('HGET', KEYS[3], ARGV[3])
  if strike and strike:sub(-1) == 'c' then
    redis.call('HSET', KEYS[3], ARGV[3], strike:sub(1, -2) .. 'r')
  end
end
return ARGV[2]
