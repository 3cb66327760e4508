--[[
Give an appeal its first or its final answer, each once and no first one after the final one.

KEYS   1  PREFIX:{ACTION_ID}:appeal, a hash: opened -> JSON of the appeal as it was opened, first and final -> answers
ARGV   1  "first" or "final"
       2  the answer as JSON
       3  TTL, ms
RESULT {opened, first, final}, the last two nil where there is none; nil if there is no such appeal
TTL    ARGV[3] from the last answer that counted

Reads no clock.
]]
if redis.call('HEXISTS', KEYS[1], 'opened') == 0 then
  return false
end
if redis.call('HEXISTS', KEYS[1], 'final') == 0 and redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return redis.call('HMGET', KEYS[1], 'opened', 'first', 'final')
