--[[
Put a revision in force: append it to the history, unless another one came first.

KEYS   1  PREFIX:{rules}:revisions, a list, oldest first: "NUMBER DIGEST JSON"; the last one is in force
       2  PREFIX:{rules}:files, a hash: digest -> the files of a rule set, compressed
ARGV   1  the revision's number
       2  the digest of its files
       3  the entry for the list
       4  its files
       5  how many revisions to keep; files that none of them names are dropped
RESULT 1 if it is in force now, also where it was already; 0 if it does not follow the last one
TTL    none: what was published stays

Reads no clock.
]]
local last = redis.call('LINDEX', KEYS[1], -1)
if last == ARGV[3] then
  return 1
end
local number = last and tonumber(string.match(last, '^%d+')) or 0
if number ~= tonumber(ARGV[1]) - 1 then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
redis.call('RPUSH', KEYS[1], ARGV[3])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[5]), -1)
local named = {}
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  named[string.match(entry, '^%d+ (%S+)')] = true
end
for _, digest in ipairs(redis.call('HKEYS', KEYS[2])) do
  if not named[digest] then
    redis.call('HDEL', KEYS[2], digest)
  end
end
return 1
