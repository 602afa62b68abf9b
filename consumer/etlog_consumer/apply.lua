-- Apply one batch of entries to the log: its effects and the progress past it, or nothing at all.
--
-- EVALSHA <sha> 12+3n contract events cursor counters stats dead producers seen ended trim id unrowed
--               log sets changes [log sets changes ...]  arguments
--
--   contract   string      version of the contract that the log follows; set by the first publish or batch
--   events     stream      the entries; its group mirrors the cursor, and applied entries are trimmed
--   cursor     string      id of the last applied entry
--   counters   hash        kind -> events applied
--   stats      hash        applied, dead, duplicate, lost, unnumbered, dead_dropped, published, entries, caught_up,
--                          rebuilt
--   dead       stream      refused events: id, producer, seq, raw, reason
--   producers  hash        producer -> its record, see `record_of`
--   seen       sorted set  producer -> when it was last seen, in milliseconds
--   ended      hash        published, applied, dead, lost: the sums of the records that are gone
--   trim       sorted set  id of an applied entry -> events up to it
--   id         string      a random id of this log; set by the first publish or batch
--   unrowed    hash        kind -> events that are in no row any more
--   log        list        a category's newest events, oldest first
--   sets       hash        a category's ledger: interval of a set -> its row
--   changes    sorted set  the same intervals -> `applied` when the row last changed
--
-- Arguments: from, to, group, entries_read, look, cap, dead_cap, retain, mark_every, six numbers, then six lists and
-- three per category, each led by its length:
--   from          the cursor that the batch was read from ("0-0": nothing applied yet)
--   to            id of the batch's last entry
--   entries_read  entries of the stream up to `to`, "" where that is unknown
--   look          "1": look at the whole stream, too, to tell what waits
--   retain        events that stay in the stream
--   mark_every    every how many events of the log an entry's id is noted in `trim`
--   applied, dead, duplicate, lost, unnumbered, dead_dropped   to add to the stats
--   applied, rebuilt, rows   of the stats, and of each category, by the caller's account
--   kind, number          to add to the counters
--   kind, number          to add to `unrowed`
--   passed, id            of entries in between: how many events of the batch there are up to the entry's end
--   producer, before, after, dead, lost   last number of each producer, that the batch was worked out from and now
--   id, producer, seq, raw, reason   of each refused event
--   event                 of each category, to append to its log
--   interval              of each category, whose rows are dropped
--   interval, row         of each category, to put
--
-- Returns {"applied", entries_read, entries, events, finding ...}: after a look, how many entries of the stream are read
-- and how many entries and events wait, "" where unknown; and "stream-gone" or "group-gone" where it was removed. Or
-- {"moved", cursor} when another consumer has been here, or others have changed the ledger or the stats. Or {"numbers", producer, number, ...} when the batch was worked
-- out from other last numbers of producers than these. Nothing was applied in both cases.
-- All that can fail is read before the first write: what a script has written before an error stays written. A store
-- that is read-only or cannot save refuses the call as a whole. One that is full does not: lists and dead letters are
-- capped.

local events, cursor, counters, stats, dead = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local producers, seen, ended, trim, id, unrowed = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local from, to, group, entries_read, look = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local cap, dead_cap, retain, mark_every = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local FIRST_OUTCOME, ADDED_OUTCOMES = 10, 6
local FIRST_LOG = 13
local SEEN_EVERY = 60000 -- milliseconds, as in `publish.lua`
local AT_ONCE = 1000 -- of what is unpacked to one command
position = FIRST_OUTCOME + ADDED_OUTCOMES

-- Read.

local at = redis.call('GET', cursor) or '0-0'
if at ~= from then
  return {'moved', at}
end

local wrong = require_type(events, 'stream') or require_type(dead, 'stream') or require_type(producers, 'hash')
  or require_type(seen, 'zset') or require_type(ended, 'hash') or require_type(trim, 'zset')
  or require_type(unrowed, 'hash')
for i = FIRST_LOG, #KEYS, 3 do
  wrong = wrong or require_type(KEYS[i], 'list') or require_type(KEYS[i + 1], 'hash')
    or require_type(KEYS[i + 2], 'zset')
end
if wrong then
  return wrong
end

local first, last = take_list(1)
local held = numbers_of(stats, {'applied', 'rebuilt'})
if held.applied ~= tonumber(ARGV[first]) or held.rebuilt ~= tonumber(ARGV[first + 1]) then
  return {'moved', at}
end
for i = first + 2, last do
  local key = FIRST_LOG + 3 * (i - first - 2)
  if not holds_rows(KEYS[key + 1], KEYS[key + 2], tonumber(ARGV[i])) then
    return {'moved', at}
  end
end

local now = clock()
local sums = numbers_of(stats, OUTCOMES)
local passed_before = sums.applied + sums.dead + sums.duplicate
for i = 1, ADDED_OUTCOMES do
  sums[OUTCOMES[i]] = sums[OUTCOMES[i]] + tonumber(ARGV[FIRST_OUTCOME + i - 1])
end
local passed = sums.applied + sums.dead + sums.duplicate
local caught_up = number(redis.call('HGET', stats, 'caught_up'))

-- What a hash of numbers by kind holds, as a list, once those of the next list are added.
local function added_to(hash)
  local kinds, sums = {}, {}
  first, last = take_list(2)
  for i = first, last, 2 do
    kinds[#kinds + 1] = ARGV[i]
  end
  local held = #kinds > 0 and redis.call('HMGET', hash, unpack(kinds))
  for i, kind in ipairs(kinds) do
    sums[2 * i - 1] = kind
    sums[2 * i] = digits(number(held[i]) + tonumber(ARGV[first + 2 * i - 1]))
  end
  return sums
end

local new_counters = added_to(counters)
local new_unrowed = added_to(unrowed)

local marks_first, marks_last = take_list(2)

local records, numbers, gone, shown = {}, {'numbers'}, {}, {}
first, last = take_list(5)
for start = first, last, 5 * AT_ONCE do
  local names = {}
  for i = start, math.min(last, start + 5 * AT_ONCE - 1), 5 do
    names[#names + 1] = ARGV[i]
  end
  local held = redis.call('HMGET', producers, unpack(names))
  for place, producer in ipairs(names) do
    local record, i = record_of(held[place]), start + 5 * (place - 1)
    if record.applied ~= tonumber(ARGV[i + 1]) then
      numbers[#numbers + 1] = producer
      numbers[#numbers + 1] = digits(record.applied)
    end
    record.applied = tonumber(ARGV[i + 2])
    record.dead, record.lost = record.dead + tonumber(ARGV[i + 3]), record.lost + tonumber(ARGV[i + 4])
    if record.published < record.applied then -- a client that numbers its events without the script
      sums.published = sums.published + record.applied - record.published
      record.published = record.applied
    end
    if record.closed and record.applied == record.published then
      gone[#gone + 1] = producer
      gone[#gone + 1] = record
    else
      if not record.seen or now - record.seen > SEEN_EVERY then
        record.seen = now
        shown[#shown + 1] = producer
      end
      records[#records + 1] = producer
      records[#records + 1] = record_text(record)
    end
  end
end
if #numbers > 1 then
  return numbers
end

-- Write.

redis.call('SET', cursor, to)
note_version()
if redis.call('EXISTS', id) == 0 then
  redis.call('SET', id, redis.sha1hex(events .. to .. table.concat(redis.call('TIME'), '.') .. from))
end
if #new_counters > 0 then
  redis.call('HSET', counters, unpack(new_counters))
end
if #new_unrowed > 0 then
  redis.call('HSET', unrowed, unpack(new_unrowed))
end
for i = 1, #records, 2 * AT_ONCE do
  redis.call('HSET', producers, unpack(records, i, math.min(#records, i + 2 * AT_ONCE - 1)))
end
for _, producer in ipairs(shown) do
  redis.call('ZADD', seen, digits(now), producer)
end
fold(producers, seen, ended, gone)

first, last = take_list(5)
for i = first, last, 5 do
  redis.call('XADD', dead, '*', 'id', ARGV[i], 'producer', ARGV[i + 1], 'seq', ARGV[i + 2],
    'raw', ARGV[i + 3], 'reason', ARGV[i + 4])
end
if last >= first then
  sums.dead_dropped = sums.dead_dropped + redis.call('XTRIM', dead, 'MAXLEN', dead_cap)
end

for i = FIRST_LOG, #KEYS, 3 do
  first, last = take_list(1)
  for start = first, last, AT_ONCE do
    redis.call('RPUSH', KEYS[i], unpack(ARGV, start, math.min(last, start + AT_ONCE - 1)))
  end
  redis.call('LTRIM', KEYS[i], -cap, -1) -- without new events, too: the cap may be smaller than it was
  drop_rows(KEYS[i + 1], KEYS[i + 2], take_list(1))
  first, last = take_list(2)
  put_rows(KEYS[i + 1], KEYS[i + 2], digits(sums.applied), first, last)
end

-- The group mirrors the cursor. At the end of the stream all entries ever added are read, whatever was deleted.

local answer = {'applied', '', '', ''}
local added, at_end
if look and redis.call('EXISTS', events) == 1 then
  added, at_end = select(2, end_of(events, to))
end
if at_end then
  entries_read = digits(added)
elseif added and entries_read ~= '' and tonumber(entries_read) > added then
  entries_read = ''
  answer[#answer + 1] = 'stream-gone'
end
local mirror = {'XGROUP', 'SETID', events, group, to}
if entries_read ~= '' then
  mirror[6], mirror[7] = 'ENTRIESREAD', entries_read
end
if redis.pcall(unpack(mirror)).err then
  local exists = redis.call('EXISTS', events) == 1
  redis.call('XGROUP', 'CREATE', events, group, to, 'MKSTREAM')
  if exists then
    redis.call(unpack(mirror))
    answer[#answer + 1] = 'group-gone'
  else
    entries_read = ''
    redis.call('XSETID', events, to) -- the next id follows the cursor, whatever the clock says
    answer[#answer + 1] = 'stream-gone'
  end
end
answer[2] = entries_read
if at_end then
  sums.entries = added
  answer[3], answer[4] = '0', '0'
elseif added and entries_read ~= '' then
  answer[3] = digits(added - entries_read)
  if sums.entries == added and unaccounted(sums) > 0 then
    answer[4] = digits(unaccounted(sums))
  end
end

-- What never happened is not in the stats.
local told = {'caught_up', digits(at_end and now or math.max(math.min(caught_up, now), math.min(milliseconds(to), now)))}
for _, name in ipairs(OUTCOMES) do
  if sums[name] > 0 then
    told[#told + 1] = name
    told[#told + 1] = digits(sums[name])
  end
end
redis.call('HSET', stats, unpack(told))
for i = marks_first, marks_last, 2 do
  redis.call('ZADD', trim, digits(passed_before + tonumber(ARGV[i])), ARGV[i + 1])
end
if math.floor(passed / mark_every) > math.floor(passed_before / mark_every) then
  redis.call('ZADD', trim, digits(passed), to)
end
trim_stream(events, trim, to, passed, retain)
return answer
