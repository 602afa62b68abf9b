-- Apply one batch of entries to the log: its effects and the progress past it, or nothing at all.
--
-- EVALSHA <sha> 8+n contract events cursor counters stats dead producers retired log [log ...]  arguments
--
--   contract   string  version of the contract that the log follows; set by the first publish or batch
--   events     stream  the entries; its group mirrors the cursor, and applied entries are trimmed
--   cursor     string  id of the last applied entry
--   counters   hash    kind -> events applied
--   stats      hash    applied, dead, duplicate, lost, unnumbered, dead_dropped
--   dead       stream  refused entries: id, producer, seq, raw, reason
--   producers  hash    <producer>:applied -> last number accounted for, of those :dead and :lost -> how many,
--                      :seen -> when, in milliseconds
--   retired    hash    producer -> "number dead lost seen": the record of one that was idle for long; it comes back
--   log        list    a category's newest events, oldest first
--
-- Arguments: from, to, group, entries_read, cap, dead_cap, trim, then four lists and one per log, each led by its length:
--   from          the cursor that the batch was read from ("0-0": nothing applied yet)
--   to            id of the batch's last entry
--   entries_read  entries of the stream up to `to`, "" where that is unknown
--   trim          entries before this id go; "" keeps all
--   kind, number          to add to the counters
--   stat, number          to add to the stats
--   producer, before, after, dead, lost   last number of each producer, that the batch was worked out from and now
--   id, producer, seq, raw, reason   of each refused entry
--   event                 of each log, to append; at most 4000 per log and batch (a limit of Lua's stack)
--
-- Returns {"applied", entries_read, entries_added, finding ...}: the entries of the stream up to `to` and all ever
-- added, "" where unknown, and "stream-gone" or "group-gone" where it was removed. Or {"moved", cursor} when another
-- consumer has been here, or a producer's last number is not `before`: nothing was applied. A record that had retired
-- is back in `producers` then.
-- All that can fail is read before the first write: what a script has written before an error stays written. A store
-- that is read-only or cannot save refuses the call as a whole. One that is full does not: lists and dead letters are
-- capped.

local events, cursor, counters, stats, dead, producers = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local retired = KEYS[8]
local from, to, group, entries_read = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local cap, dead_cap, trim = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local FIRST_LOG = 9
local position = 8

local function take_list(width)
  local first = position + 1
  local last = position + tonumber(ARGV[position]) * width
  position = last + 1
  return first, last
end

-- Sums of what a hash holds and what comes on top, as field, value, field, value ...
local function sums(hash, first, last)
  local fields, changed = {}, {}
  for i = first, last, 2 do
    fields[#fields + 1] = ARGV[i]
  end
  if #fields == 0 then
    return changed
  end
  local held = redis.call('HMGET', hash, unpack(fields))
  for i, field in ipairs(fields) do
    changed[#changed + 1] = field
    changed[#changed + 1] = digits(number(held[i]) + tonumber(ARGV[first + 2 * i - 1]))
  end
  return changed
end

-- As `etlog_events.sequence.number_of`.
local function number_of(text)
  local found = number((text or ''):match('^%d+$'))
  return found < 2 ^ 53 and found or 0
end

-- Read.

local at = redis.call('GET', cursor) or '0-0'
if at ~= from then
  return {'moved', at}
end

local wrong = require_type(events, 'stream') or require_type(dead, 'stream') or require_type(producers, 'hash')
  or require_type(retired, 'hash')
for i = FIRST_LOG, #KEYS do
  wrong = wrong or require_type(KEYS[i], 'list')
end
if wrong then
  return wrong
end

local first, last = take_list(2)
local new_counters = sums(counters, first, last)
first, last = take_list(2)
local new_stats = sums(stats, first, last)
local dead_dropped = redis.call('HGET', stats, 'dead_dropped')

local accounts_first, accounts_last = take_list(5)
local new_accounts, come_back = {}, {}
for i = accounts_first, accounts_last, 5 do
  local producer = ARGV[i]
  local applied, died, vanished = producer .. ':applied', producer .. ':dead', producer .. ':lost'
  local held = redis.call('HMGET', producers, applied, died, vanished)
  if not held[1] and retired_numbers(redis.call('HGET', retired, producer)) then
    come_back[#come_back + 1] = producer
  elseif number_of(held[1]) ~= tonumber(ARGV[i + 1]) then
    return {'moved', at}
  end
  local account = {applied, ARGV[i + 2], producer .. ':seen', to:match('^%d+')}
  for j, field in ipairs({died, vanished}) do
    local more = tonumber(ARGV[i + 2 + j])
    if more > 0 then
      account[#account + 1] = field
      account[#account + 1] = digits(number(held[j + 1]) + more)
    end
  end
  new_accounts[#new_accounts + 1] = account
end

-- Write. Where a producer that retired comes back, this is all: the batch was worked out without its record.

for _, producer in ipairs(come_back) do
  unretire(producers, retired, producer)
end
if #come_back > 0 then
  return {'moved', at}
end

redis.call('SET', cursor, to)
note_version()
if #new_counters > 0 then
  redis.call('HSET', counters, unpack(new_counters))
end
if #new_stats > 0 then
  redis.call('HSET', stats, unpack(new_stats))
end

for _, account in ipairs(new_accounts) do
  redis.call('HSET', producers, unpack(account))
end

first, last = take_list(5)
for i = first, last, 5 do
  redis.call('XADD', dead, '*', 'id', ARGV[i], 'producer', ARGV[i + 1], 'seq', ARGV[i + 2],
    'raw', ARGV[i + 3], 'reason', ARGV[i + 4])
end
if last >= first then
  local dropped = redis.call('XTRIM', dead, 'MAXLEN', dead_cap)
  if dropped > 0 then
    redis.call('HSET', stats, 'dead_dropped', digits(number(dead_dropped) + dropped))
  end
end

for i = FIRST_LOG, #KEYS do
  first, last = take_list(1)
  if last >= first then
    redis.call('RPUSH', KEYS[i], unpack(ARGV, first, last))
  end
  redis.call('LTRIM', KEYS[i], -cap, -1) -- without new events, too: the cap may be smaller than it was
end

-- The group mirrors the cursor. At the end of the stream all entries ever added are read, whatever was deleted.

local answer = {'applied', '', ''}
local exists = redis.call('EXISTS', events) == 1
local info = exists and named(redis.call('XINFO', 'STREAM', events)) or {}
if info['last-generated-id'] == to then
  entries_read = info['entries-added']
elseif not exists or (entries_read ~= '' and tonumber(entries_read) > info['entries-added']) then
  entries_read = ''
  answer[#answer + 1] = 'stream-gone'
end
local mirror = {'XGROUP', 'SETID', events, group, to}
if entries_read ~= '' then
  mirror[6], mirror[7] = 'ENTRIESREAD', entries_read
end
if redis.pcall(unpack(mirror)).err then
  redis.call('XGROUP', 'CREATE', events, group, to, 'MKSTREAM')
  redis.call(unpack(mirror))
  if exists then
    answer[#answer + 1] = 'group-gone'
  else
    redis.call('XSETID', events, to) -- the next id follows the cursor, whatever the clock says
  end
end
if trim ~= '' then
  redis.call('XTRIM', events, 'MINID', trim)
end
answer[2], answer[3] = tostring(entries_read), tostring(info['entries-added'] or '')
return answer
