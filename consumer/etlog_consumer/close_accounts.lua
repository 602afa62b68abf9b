-- Close the accounts of producers, some at a time: count as lost what vanished from the end of the stream, give up the
-- records of those that were not seen for long, and find those that such a search would miss.
--
-- EVALSHA <sha> 7 contract events cursor producers seen ended stats  from remembered place scan
--
--   contract    string      version of the contract that the log follows
--   events      stream      the entries
--   cursor      string      id of the last applied entry
--   producers   hash        producer -> its record, see `record_of`
--   seen        sorted set  producer -> when it was last seen, in milliseconds
--   ended       hash        published, applied, dead, lost: the sums of the records that are gone
--   stats       hash        lost, published and others
--   from                    the cursor by the caller's account
--   remembered              milliseconds after which the record of a producer that was not seen is given up
--   place, scan             where the last call stopped looking for losses, and for records without a place in `seen`;
--                           0 to begin. place "": entries wait, so no losses are to be looked for
--
-- Returns {place, scan, producer, first, last ...}: where to go on looking, and what was lost. Nothing is done when the
-- cursor is elsewhere. Publishing appends an event and notes its number in one step: so if the stream holds nothing after
-- the cursor, all numbers that were published and not applied belong to entries that others deleted. The stats tell
-- whether there are any; only then the records are searched, those seen last first.
-- All that can fail is checked before the first write: what a script has written before an error stays written.

local events, cursor, producers, seen, ended, stats = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local from, remembered, place, scan = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local AT_ONCE = 500

if (redis.call('GET', cursor) or '0-0') ~= from then
  return {tostring(place or 0), scan}
end
local wrong = require_type(events, 'stream') or require_type(producers, 'hash') or require_type(seen, 'zset')
  or require_type(ended, 'hash') or require_type(stats, 'hash')
if wrong then
  return wrong
end
local now = clock()
local sums = numbers_of(stats, OUTCOMES)
local missing = unaccounted(sums)
local gone, lost = {}, {}

local function records_of(names)
  local found = #names > 0 and redis.call('HMGET', producers, unpack(names)) or {}
  for i = 1, #names do
    found[i] = record_of(found[i])
  end
  return found
end

if place and missing > 0 and #redis.call('XRANGE', events, '(' .. from, '+', 'COUNT', 1) == 0 then
  local names = redis.call('ZREVRANGE', seen, place, place + AT_ONCE - 1)
  for i, record in ipairs(records_of(names)) do
    local vanished = record.published - record.applied
    if vanished > 0 then
      lost[#lost + 1] = names[i]
      lost[#lost + 1] = digits(record.applied + 1)
      lost[#lost + 1] = digits(record.published)
      record.lost, record.applied = record.lost + vanished, record.published
      sums.lost, missing = sums.lost + vanished, missing - vanished
      if record.closed then
        gone[#gone + 1] = names[i]
        gone[#gone + 1] = record
      else
        redis.call('HSET', producers, names[i], record_text(record))
      end
    end
  end
  -- Those that go leave their places to those behind them.
  place = (#names < AT_ONCE or missing <= 0) and 0 or place + AT_ONCE - #gone / 2
  if #lost > 0 then
    redis.call('HSET', stats, 'lost', digits(sums.lost))
  end
else
  place = 0
end

local old = redis.call('ZRANGEBYSCORE', seen, '-inf', digits(now - remembered), 'LIMIT', 0, AT_ONCE)
for i, record in ipairs(records_of(old)) do
  if not record.known then
    redis.call('ZREM', seen, old[i])
  elseif record.published == record.applied then
    gone[#gone + 1] = old[i]
    gone[#gone + 1] = record
  end
end
fold(producers, seen, ended, gone)

-- Who deleted `seen`, or a part of it, must not make records eternal.
if scan ~= '0' or redis.call('ZCARD', seen) < redis.call('HLEN', producers) then
  local found = redis.call('HSCAN', producers, scan, 'COUNT', AT_ONCE)
  scan = found[1]
  for i = 1, #found[2], 2 do
    local record = record_of(found[2][i + 1])
    redis.call('ZADD', seen, 'NX', digits(record.seen or now), found[2][i])
  end
end
return {tostring(place), scan, unpack(lost)}
