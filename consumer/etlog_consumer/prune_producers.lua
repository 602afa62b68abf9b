-- Close the accounts of producers: count what vanished from the end of the stream, retire records that are idle for
-- long, and forget those that were retired for longer. Trim the stream, for a log to which nothing comes.
--
-- EVALSHA <sha> 6 contract events cursor producers stats retired  from idle remembered trim scan
--
--   contract    string  version of the contract that the log follows
--   events      stream  the entries
--   cursor      string  id of the last applied entry
--   producers   hash    <producer>:published, :applied, :dead, :lost, :seen
--   stats       hash    lost, pruned, pruned_dead, pruned_lost and others
--   retired     hash    producer -> "number dead lost seen"
--   from                the cursor by the caller's account
--   idle                milliseconds without an event after which a record is retired, if all it published is applied
--   remembered          milliseconds without an event after which a retired record is forgotten, all but its sums
--   trim                entries before this id go; "" keeps all
--   scan                where the last call stopped looking through the retired records; "0" to begin
--
-- Returns {lost, retired, scan}: lists of producer, first, last ... and of producer ..., and where to go on looking.
-- The lists are empty when the cursor is elsewhere. Publishing appends an event and notes its number in one step: so if
-- the stream holds nothing after the cursor, all numbers that were published and not applied belong to entries that
-- others deleted.
-- All that can fail is checked before the first write: what a script has written before an error stays written.

local events, cursor, producers, stats, retired = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local from, idle, remembered, trim, scan = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local AT_ONCE = 100

if (redis.call('GET', cursor) or '0-0') ~= from then
  return {{}, {}, scan}
end
local wrong = require_type(events, 'stream') or require_type(producers, 'hash') or require_type(stats, 'hash')
  or require_type(retired, 'hash')
if wrong then
  return wrong
end
local at_end = #redis.call('XRANGE', events, '(' .. from, '+', 'COUNT', 1) == 0
local now = tonumber(redis.call('TIME')[1]) * 1000

local records = {}
local fields = redis.call('HGETALL', producers)
for i = 1, #fields, 2 do
  local producer, what = fields[i]:match('^(.*):(%l+)$')
  if producer then
    records[producer] = records[producer] or {}
    records[producer][what] = tonumber(fields[i + 1])
  end
end

local function add(field, more)
  if more > 0 then
    redis.call('HSET', stats, field, digits(number(redis.call('HGET', stats, field)) + more))
  end
end

local lost, gone = {}, {}
for producer, record in pairs(records) do
  local applied = record.applied or 0
  local published = record.published or applied
  if at_end and published > applied then
    local missing = published - applied
    redis.call('HSET', producers, producer .. ':applied', digits(published),
      producer .. ':lost', digits((record.lost or 0) + missing),
      producer .. ':seen', digits(now))
    add('lost', missing)
    lost[#lost + 1] = producer
    lost[#lost + 1] = digits(applied + 1)
    lost[#lost + 1] = digits(published)
  elseif not record.seen then
    redis.call('HSET', producers, producer .. ':seen', digits(now))
  elseif published == applied and now - record.seen > idle then
    redis.call('HSET', retired, producer,
      table.concat({digits(applied), digits(record.dead or 0), digits(record.lost or 0), digits(record.seen)}, ' '))
    for what in pairs(record) do
      redis.call('HDEL', producers, producer .. ':' .. what)
    end
    gone[#gone + 1] = producer
  end
end

local old = redis.call('HSCAN', retired, scan, 'COUNT', AT_ONCE)
for i = 1, #old[2], 2 do
  local published, dead, vanished, seen = retired_numbers(old[2][i + 1])
  if published and now - tonumber(seen) > remembered then
    add('pruned', tonumber(published))
    add('pruned_dead', tonumber(dead))
    add('pruned_lost', tonumber(vanished))
    redis.call('HDEL', retired, old[2][i])
  end
end

if trim ~= '' then
  redis.call('XTRIM', events, 'MINID', trim)
end
return {lost, gone, old[1]}
