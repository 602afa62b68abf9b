-- Append a batch of one producer's events to the stream, each exactly once. Or end the producer.
--
-- FCALL etlog_publish_2 7 events producers seen ended stats contract id  producer token log first mode [event ...]
--
--   events     stream      one entry per call, see below
--   producers  hash        producer -> "published=… applied=… dead=… lost=… seen=… token=…[ closed]"
--   seen       sorted set  producer -> when it was last seen, in milliseconds, up to a minute old
--   ended      hash        published, applied, dead, lost: the sums of the records that are gone
--   stats      hash        published, entries: what was appended here, and others
--   contract   string      version of the contract that the log follows; set by the first write
--   id         string      a random id of this log; set by the first write
--   producer               the producer's id, 1 to 256 bytes
--   token                  of its process, at most 64 characters without a space: another process under the same id is
--                          refused; "" is not checked
--   log                    the id that the log must have; "" for any
--   first                  sequence number of the first event; the others follow on
--   mode                   "follow": refuse a batch that leaves a gap; "skip": take it, the missing numbers are gone;
--                          "close": the producer ends with the number before `first`, there are no events
--   event                  canonical JSON; without any, the call only tells whether the store holds all before `first`;
--                          with "skip" it gives up what is missing before `first`
--
-- Returns {"OK", last, id} with the last number now held and the log's id, "" where it has none yet; or
-- {"GAP", held, id} with the number to follow on from; then nothing was changed. Events at or below the number held are
-- not appended again, so a batch may be sent twice. The record of a producer that has closed goes as soon as all that it
-- published is applied; its numbers are in the sums from then on, and nothing tells them from new ones: its id must not
-- be used again, "close" not be sent twice, nor while another call is unanswered.
-- An error that begins with ARGUMENT says which argument is wrong; CONTRACT and the log's version, that this script does
-- not know it; TAKEN, that another process goes by this producer's id; LOG, that this is another log than `log`. Nothing
-- was changed then.
--
-- An entry has the fields producer, seq (the number of its first event), event, event.1, event.2 …: up to 500 events and
-- 64 KiB of them, or a longer one by itself. A longer batch becomes several entries.
-- All that can fail is read before the first write: what a script has written before an error stays written.

local CONTRACT = '2'
local MOST_EVENTS, MOST_BYTES = 500, 65536
local SEEN_EVERY = 60000 -- milliseconds
local HEADER = 5
local MOST_ID, MOST_TOKEN = 256, 64

local events, producers, seen, ended, stats, contract, id = unpack(KEYS)
local producer, token, log, first, mode = unpack(ARGV, 1, HEADER)

local function wrong(what)
  return redis.error_reply('ARGUMENT ' .. what)
end
if #KEYS ~= 7 then
  return wrong('count: there are 7 keys, not ' .. #KEYS)
end
local version, log_id = unpack(redis.call('MGET', contract, id))
if version and version ~= CONTRACT then
  return redis.error_reply('CONTRACT ' .. version .. ' is not ' .. CONTRACT .. ', the one of this script')
end

-- What is checked here would stay in the store, where no one could repair it.
if #ARGV < HEADER then
  return wrong('count: after the keys come producer, token, log, first and mode')
end
if #producer < 1 or #producer > MOST_ID then
  return wrong('producer: an id has 1 to ' .. MOST_ID .. ' bytes, not ' .. #producer)
end
if not token:match('^[!-~]*$') or #token > MOST_TOKEN then
  return wrong('token: it has at most ' .. MOST_TOKEN .. ' characters of ASCII, and no space')
end
if not first:match('^%d+$') or #first > 16 or tonumber(first) < 1 then
  return wrong('first: the number of an event is a whole number from 1')
end
first = tonumber(first)
local last = first + (#ARGV - HEADER - 1) -- in this order: what lies above 2^53 is rounded
if last >= 2 ^ 53 then
  return wrong('first: the number of an event is less than 2^53')
end
if mode ~= 'follow' and mode ~= 'skip' and mode ~= 'close' then
  return wrong('mode: it is follow, skip or close')
end
if mode == 'close' and #ARGV > HEADER then
  return wrong('mode: with close there are no events')
end

if log ~= '' and log ~= (log_id or '') then
  return redis.error_reply('LOG ' .. (log_id or '(none)') .. ' is here, not ' .. log)
end

local published, applied, dead, lost, last_seen, owner, closed =
  (redis.call('HGET', producers, producer) or ''):match(
    '^published=(%d+) applied=(%d+) dead=(%d+) lost=(%d+) seen=(%d+) token=(%S*)( ?%a*)$')
local held = tonumber(published or 0)
if published and token ~= '' and owner ~= '' and owner ~= token then
  return redis.error_reply('TAKEN ' .. producer .. ' is the id of another process')
end
if first > held + 1 and mode ~= 'skip' then
  return {'GAP', held, log_id or ''}
end

local closes = mode == 'close' and published and last == held
local gives_up = mode == 'skip' and last > held
if last < first and not closes and not gives_up then
  return {'OK', held, log_id or ''}
end

local function digits(number)
  return string.format('%.0f', number)
end

-- What a hash holds under these fields; 0 where that is no number.
local function numbers(hash, ...)
  local found = redis.call('HMGET', hash, ...)
  for i, text in ipairs(found) do
    found[i] = tonumber((text or ''):match('^%d+$') or 0)
  end
  return found
end

local sums = numbers(stats, 'published', 'entries')
local time = redis.call('TIME')
local now = digits(time[1] * 1000 + math.floor(time[2] / 1000))
local show = not last_seen or now - last_seen > SEEN_EVERY or mode == 'close'
if show then
  redis.call('ZSCORE', seen, producer)
end

if mode == 'close' and published == applied then
  local gone = numbers(ended, 'published', 'applied', 'dead', 'lost')
  redis.call('HSET', ended, 'published', digits(gone[1] + published), 'applied', digits(gone[2] + applied),
    'dead', digits(gone[3] + dead), 'lost', digits(gone[4] + lost))
  redis.call('HDEL', producers, producer)
  redis.call('ZREM', seen, producer)
  return {'OK', held, log_id or ''}
end

-- A batch that came before ends in a write, too, so that WAIT and WAITAOF after it have one to wait for.
if last > held then
  redis.call('XLEN', events)
  if not version then
    redis.call('SET', contract, CONTRACT)
  end
  if not log_id then
    log_id = redis.sha1hex(producer .. token .. time[1] .. time[2])
    redis.call('SET', id, log_id)
  end
  local entries, place = 0, HEADER + 1 + math.max(0, held + 1 - first)
  while place <= #ARGV do
    local fields = {events, '*', 'producer', producer, 'seq', digits(first + (place - HEADER - 1)), 'event', ARGV[place]}
    local bytes, count = #ARGV[place], 1
    place = place + 1
    while place <= #ARGV and count < MOST_EVENTS and bytes + #ARGV[place] <= MOST_BYTES do
      fields[#fields + 1] = 'event.' .. count
      fields[#fields + 1] = ARGV[place]
      bytes, count, place = bytes + #ARGV[place], count + 1, place + 1
    end
    redis.call('XADD', unpack(fields))
    entries = entries + 1
  end
  -- Numbers that were skipped are published, but nothing of them waits: so the stats must not tell how many events do.
  entries = first > held + 1 and 0 or sums[2] + entries
  redis.call('HSET', stats, 'published', digits(sums[1] + last - held), 'entries', digits(entries))
  held = last
end
if show then
  last_seen = now
  redis.call('ZADD', seen, now, producer)
end
redis.call('HSET', producers, producer, 'published=' .. digits(held) .. ' applied=' .. (applied or 0)
  .. ' dead=' .. (dead or 0) .. ' lost=' .. (lost or 0) .. ' seen=' .. last_seen
  .. ' token=' .. (owner and owner ~= '' and owner or token) .. (mode == 'close' and ' closed' or ''))
return {'OK', held, log_id or ''}
