--[[
Keep one action, once; a mute or ban is also listed as in force.

KEYS   1  PREFIX:{ACCOUNT}:action:ACTION_ID, a hash: action -> JSON, and later reverted -> JSON of the revert
       2  PREFIX:{ACCOUNT}:live, a sorted set: action_id -> until in ms, +inf = permanent
ARGV   1  action_id
       2  the action as JSON
       3  until, ms or "+inf"; "" for what is no mute or ban
       4  how many sanctions to list; those that end first are dropped
       5  TTL, ms
RESULT 1 if the action is new, 0 if it was known (then nothing changes, so a reverted sanction is not listed again)
TTL    KEYS[1]: ARGV[5]. KEYS[2]: the longest of its members

Reads no clock.
]]
if redis.call('HSETNX', KEYS[1], 'action', ARGV[2]) == 0 then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -tonumber(ARGV[4]) - 1)
  if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
  end
end
return 1
