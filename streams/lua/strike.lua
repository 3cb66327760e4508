--[[
Count one offence of one player on a ladder, once per event whatever the ladder.

KEYS   1  PREFIX:{ACCOUNT}:strikes, a hash: event_id -> "seq ts step at label ladder kind"
          seq is the order of arrival; kind is c (counted), m (merged into another) or r (counted, later reverted)
ARGV   1  event_id
       2  ts, ms: when it was said
       3  now, ms: when it was judged
       4  decay, ms: counted strikes up to this much older than ts are added up
       5  grace, ms: a counted strike this near to ts is the same incident
       6  how many events to remember
       7  TTL, ms
       8  label
       9  ladder; neither of the two has a space in it
RESULT {step, at, merged (0 or 1), label, ladder}; for an event that is remembered, what it was told the first time
TTL    ARGV[7] from the last new strike

Reads no clock. Costs one pass over the events remembered.
]]
local key, event, now = KEYS[1], ARGV[1], ARGV[3]
local ts, decay, grace, most = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local label, ladder = ARGV[8], ARGV[9]
local ENTRY = '^(%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%a)$'

local known = redis.call('HGET', key, event)
if known then
  local _, _, step, at, its_label, its_ladder, kind = known:match(ENTRY)
  return {tonumber(step), tonumber(at), kind == 'm' and 1 or 0, its_label, its_ladder}
end

-- What is dropped first when there is no room: what has decayed, then merged events (asked again, they merge again),
-- then reverted ones, then counted ones; of equals, the first to arrive.
local WORTH = {m = 1, r = 2, c = 3}

local last, size, earlier = 0, 0, 0
local incident, incident_step
local drop, drop_worth, drop_seq
local entries = redis.call('HGETALL', key)
for i = 1, #entries, 2 do
  local seq, at_ts, step, _, _, its_ladder, kind = entries[i + 1]:match(ENTRY)
  seq, at_ts = tonumber(seq), tonumber(at_ts)
  local age = ts - at_ts
  size, last = size + 1, math.max(last, seq)
  local counts = kind == 'c' and its_ladder == ladder
  if counts and math.abs(age) <= grace then
    if not incident or at_ts < incident then
      incident, incident_step = at_ts, tonumber(step)
    end
  elseif counts and age > 0 and age <= decay then
    earlier = earlier + 1
  end
  local worth = age > decay and 0 or WORTH[kind]
  if not drop or worth < drop_worth or (worth == drop_worth and seq < drop_seq) then
    drop, drop_worth, drop_seq = entries[i], worth, seq
  end
end

if size >= most then
  redis.call('HDEL', key, drop)
end
local step, kind = earlier + 1, 'c'
if incident then
  step, kind = incident_step, 'm'
end
local entry = string.format('%d %s %d %s %s %s %s', last + 1, ARGV[2], step, now, label, ladder, kind)
redis.call('HSET', key, event, entry)
redis.call('PEXPIRE', key, ARGV[7])
return {step, tonumber(now), incident and 1 or 0, label, ladder}
