-- Append a batch of one producer's events to the stream, each exactly once.
--
-- EVALSHA <sha> 4 events producers contract retired  producer first mode  event [event ...]
--
--   events     stream  one entry per event: event, producer, seq
--   producers  hash    <producer>:published -> last sequence number that this script appended for it
--   contract   string  version of the contract that the log follows; set by the first write
--   retired    hash    producer -> "number dead lost seen": the record of one that was idle for long; moved back here
--   producer           the producer's id
--   first              sequence number of the first event; the others follow on
--   mode               "follow": refuse a batch that leaves a gap; "skip": take it, the missing numbers are gone
--   event              canonical JSON; without any, the call only tells whether the store holds all before `first`
--
-- Returns {"OK", last} with the last number now held, or {"GAP", held} with the number to follow on from; then nothing
-- was changed. An error that begins with CONTRACT and the log's version says that this script does not know it: nothing
-- was changed, and the publisher must be upgraded. Events at or below the number held are not appended again, so a batch
-- may be sent twice.
-- All that can fail is read before the first write: what a script has written before an error stays written.

local CONTRACT = 1

local events, producers, contract, retired = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local producer, first, mode = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local HEADER = 3

local version = redis.call('GET', contract)
if version and not (version:match('^%d+$') and tonumber(version) <= CONTRACT) then
  return redis.error_reply('CONTRACT ' .. version .. ' is newer than ' .. CONTRACT
    .. ', the newest that this script supports; upgrade it')
end

local field = producer .. ':published'
local held = redis.call('HGET', producers, field)
if not held then
  local number, dead, lost, seen = (redis.call('HGET', retired, producer) or ''):match('^(%d+) (%d+) (%d+) (%d+)$')
  if number then
    redis.call('HSET', producers, field, number, producer .. ':applied', number, producer .. ':dead', dead,
      producer .. ':lost', lost, producer .. ':seen', seen)
    redis.call('HDEL', retired, producer)
    held = number
  end
end
held = tonumber((held or ''):match('^%d+$') or 0)
if first > held + 1 and mode ~= 'skip' then
  return {'GAP', held}
end

local last = first + #ARGV - HEADER - 1
if last <= held then
  if last >= first then -- a batch that came before: a write, so that WAIT and WAITAOF after it have one to wait for
    redis.call('HSET', producers, field, held)
  end
  return {'OK', held}
end
if not version then
  redis.call('SET', contract, CONTRACT)
end
for seq = math.max(first, held + 1), last do
  redis.call('XADD', events, '*', 'event', ARGV[HEADER + 1 + seq - first], 'producer', producer, 'seq', seq)
end
redis.call('HSET', producers, field, last)
return {'OK', last}
