--[[
Note one sighting of one campaign, once per event, and tell which members are to be acted on because of it.

A campaign is reached once and for good. The event that reaches it makes every member due; after that, a new member is
due by the event it comes with. Who made a member due is remembered, so that an event asked about again is told the same.

KEYS   1  PREFIX:{CAMPAIGN}:campaign, a hash: reached -> "EVENT at", once it is
       2  PREFIX:{CAMPAIGN}:members, a hash: account -> "first last pieces device EVENT at upto bad"
             first, last: ms, when it was seen; pieces: of evidence kept; device: its last, - if unknown
             EVENT: by which it was due, ! if not yet (no id has that); at: ms, when that was judged; upto: of the evidence then
             bad: 1 if that was for a handle marked as bad
       3  PREFIX:{CAMPAIGN}:evidence, a hash: event_id -> "number account JSON", number from 1 in order of arrival
ARGV   1  event_id
       2  account; neither of the two has a space in it
       3  device, without spaces; - if unknown
       4  ts, ms: when it was said
       5  now, ms: when it was judged
       6  1 if one of its handles is marked as bad, else 0
       7  the sighting as JSON
       8  nine numbers, with spaces between them:
            accounts within the window that make it a campaign
            window, ms
            accounts of one device within the window that make it one
            accounts, however long apart, that make it one; at most the next, so few are looked at before it is reached
            how many members to remember; of those beyond, only what they say now is looked at
            how much evidence to keep, besides the first piece of every member
            how many pieces to keep of one member
            TTL before it is reached, ms
            TTL once it is, ms
RESULT nil if it is no campaign yet; {} if nobody is due; else {at, bad, JSON...}: the evidence of those who are, in
       order of arrival
TTL    one of the last two from the last sighting; never shortened

Any of the keys may be gone, where a store that is full drops what it likes: then who was due may be due again.

Reads no clock. Costs one look at one member, or at the few there are before it is reached; the event that reached it, if
it is asked about again, a pass over all members and evidence.
]]
local campaign, members, evidence = KEYS[1], KEYS[2], KEYS[3]
local event, account, device, json = ARGV[1], ARGV[2], ARGV[3], ARGV[7]
local ts, now, bad = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local limits = {}
for number in ARGV[8]:gmatch('%d+') do
  limits[#limits + 1] = tonumber(number)
end
local ACCOUNTS, WINDOW, ON_DEVICE, EVER, MEMBERS, EVIDENCE, PIECES, WATCHED, KEPT = unpack(limits)
local MEMBER = '^(%d+) (%d+) (%d+) (%S+) (%S+) (%d+) (%d+) (%d)$'
local PIECE = '^(%d+) (%S+) (.*)$'

local function read(entry)
  local first, last, pieces, its_device, by, at, upto, its_bad = entry:match(MEMBER)
  return {
    first = tonumber(first), last = tonumber(last), pieces = tonumber(pieces), device = its_device,
    by = by, at = at, upto = tonumber(upto), bad = its_bad,
  }
end

local function write(name, one)
  redis.call('HSET', members, name, string.format('%.0f %.0f %d %s %s %s %d %s',
    one.first, one.last, one.pieces, one.device, one.by, one.at, one.upto, one.bad))
end

local function all()
  local out, flat = {}, redis.call('HGETALL', members)
  for i = 1, #flat, 2 do
    out[flat[i]] = read(flat[i + 1])
  end
  return out
end

local function keep(ttl)
  for _, key in ipairs(KEYS) do
    if redis.call('PTTL', key) < ttl then
      redis.call('PEXPIRE', key, ttl)
    end
  end
end

local function is_campaign(everyone)
  local total, near, on_device = 0, 0, 0
  for _, one in pairs(everyone) do
    total = total + 1
    if math.abs(ts - one.last) <= WINDOW then
      near = near + 1
      if one.device == device and device ~= '-' then
        on_device = on_device + 1
      end
    end
  end
  return bad == '1' or near >= ACCOUNTS or on_device >= ON_DEVICE or total >= EVER
end

local function answer(everyone)
  local its = everyone[account]
  local out, found, flat = {its.at, its.bad}, {}, redis.call('HGETALL', evidence)
  for i = 2, #flat, 2 do
    local number, name, text = flat[i]:match(PIECE)
    local one = everyone[name]
    if one and one.by == event and tonumber(number) <= one.upto then
      found[#found + 1] = {tonumber(number), text}
    end
  end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  for _, piece in ipairs(found) do
    out[#out + 1] = piece[2]
  end
  return out
end

local reached = redis.call('HGET', campaign, 'reached')
local entry = redis.call('HGET', members, account)
local one = entry and read(entry)
if not one then
  if redis.call('HLEN', members) >= MEMBERS then
    keep(reached and KEPT or WATCHED)
    return reached and {now, bad, json} or false
  end
  one = {first = ts, last = ts, pieces = 0, device = device, by = '!', at = '0', upto = 0, bad = '0'}
end
one.first, one.last = math.min(one.first, ts), math.max(one.last, ts)
one.device = device ~= '-' and device or one.device

local kept = redis.call('HLEN', evidence)
local room = one.pieces == 0
  or (one.pieces < PIECES and kept - redis.call('HLEN', members) < EVIDENCE)
if room and redis.call('HSETNX', evidence, event, string.format('%d %s %s', kept + 1, account, json)) == 1 then
  one.pieces, kept = one.pieces + 1, kept + 1
end
if reached and one.by == '!' then
  one.by, one.at, one.upto, one.bad = event, now, kept, bad
end
write(account, one)

if reached then
  keep(KEPT)
  local first = reached:match('^(%S+)')
  if one.by ~= event then
    return {}
  end
  if first == event then
    return answer(all())
  end
  -- who came later is due by what was said then, and that is kept: no need to look at all the rest
  local _, name, text = (redis.call('HGET', evidence, event) or ''):match(PIECE)
  return {one.at, one.bad, name == account and text or json}
end

local everyone = all()
if not is_campaign(everyone) then
  keep(WATCHED)
  return false
end
redis.call('HSET', campaign, 'reached', event .. ' ' .. now)
for name, each in pairs(everyone) do
  each.by, each.at, each.upto, each.bad = event, now, kept, bad
  write(name, each)
end
keep(KEPT)
return answer(everyone)
