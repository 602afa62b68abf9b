-- Convert a log from contract 1 to contract 2, in steps: begin, convert slice by slice, switch.
--
-- EVALSHA <sha> 11 contract lease stats id producers retired seen ended new_producers new_seen new_sums  step ...
--
--   contract       string      "1" before, "upgrading" meanwhile, which no part knows, "2" after
--   lease          string      name of the active consumer
--   stats          hash        contract 1: pruned, pruned_dead, pruned_lost; contract 2: published
--   id             string      a random id of this log
--   producers      hash        contract 1: <producer>:published, :applied, :dead, :lost, :seen -> number;
--                              contract 2: producer -> its record
--   retired        hash        contract 1: producer -> "number dead lost seen"
--   seen           sorted set  producer -> when it was last seen, in milliseconds
--   ended          hash        published, applied, dead, lost: the sums of the records that are gone
--   new_producers, new_seen    what becomes `producers` and `seen`
--   new_sums       hash        published, records: the sums over new_producers
--
-- Steps, their arguments and answers; any of them may run again, and by two at once:
--   "begin"                      {"begun", fields, retired}: how many there are to convert
--   "convert", "producers" or "retired", scan, count
--                                {"converted", scan, fields}: where HSCAN goes on, "0" at the end
--   "switch", a new id           {"switched", records, published}: the log is at contract 2
-- Or, with nothing changed: {"held", consumer} where one is active, {"contract", version} at another contract than the
-- step needs, "" for none.
-- No other script writes to the log meanwhile, because none knows its contract. So what is converted once stays so.
-- All that can fail is read before the first write: what a script has written before an error stays written.

local contract, lease, stats, id, producers, retired, seen, ended, new_producers, new_seen, new_sums = unpack(KEYS)
local step = ARGV[1]
local UPGRADING = 'upgrading'

local version = redis.call('GET', contract) or ''
if version ~= UPGRADING and not (step == 'begin' and version == '1') then
  return {'contract', version}
end

local function digits(number)
  return string.format('%.0f', number)
end

local function number(text)
  return tonumber((text or ''):match('^%d+$') or 0)
end

local function require_type(key, expected)
  local found = redis.call('TYPE', key).ok
  if found ~= expected and found ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. key .. ' should be a ' .. expected .. ', it is a ' .. found)
  end
end

local wrong = require_type(stats, 'hash') or require_type(producers, 'hash') or require_type(retired, 'hash')
  or require_type(id, 'string') or require_type(lease, 'string')
if wrong then
  return wrong
end

if step == 'begin' then
  local holder = redis.call('GET', lease)
  if holder then
    return {'held', holder}
  end
  if version == '1' then
    redis.call('SET', contract, UPGRADING)
    -- An earlier attempt may have been given up, and parts of contract 1 may have written since.
    redis.call('UNLINK', new_producers, new_seen, new_sums)
  end
  return {'begun', redis.call('HLEN', producers), redis.call('HLEN', retired)}
end

if step == 'convert' then
  local source = ARGV[2] == 'retired' and retired or producers
  local time = redis.call('TIME')
  local now = digits(time[1] * 1000 + math.floor(time[2] / 1000))
  local published_of_all, records = 0, 0

  -- All but the producer are the digits of numbers.
  local function convert(producer, published, applied, dead, lost, last_seen)
    local record = 'published=' .. published .. ' applied=' .. applied .. ' dead=' .. dead .. ' lost=' .. lost
      .. ' seen=' .. last_seen .. ' token='
    if redis.call('HSETNX', new_producers, producer, record) == 1 then
      redis.call('ZADD', new_seen, last_seen, producer)
      published_of_all, records = published_of_all + tonumber(published), records + 1
    end
  end

  local function number_text(text)
    return text and text:match('^%d+$') or '0'
  end

  local slice = redis.call('HSCAN', source, ARGV[3], 'COUNT', ARGV[4])
  for i = 1, #slice[2], 2 do
    local field = slice[2][i]
    if source == retired then
      local last, dead, lost, last_seen = slice[2][i + 1]:match('^(%d+) (%d+) (%d+) (%d+)$')
      if last then
        convert(field, last, last, dead, lost, last_seen)
      end
    else
      -- The fields of one producer are in different slices. One of these two is there, and only one leads to a record.
      local producer
      if field:sub(-10) == ':published' then
        producer = field:sub(1, -11)
      elseif field:sub(-8) == ':applied' and redis.call('HEXISTS', producers, field:sub(1, -8) .. 'published') == 0 then
        producer = field:sub(1, -9)
      end
      if producer then
        local held = redis.call('HMGET', producers, producer .. ':published', producer .. ':applied',
          producer .. ':dead', producer .. ':lost', producer .. ':seen')
        local published, applied = number_text(held[1]), number_text(held[2])
        if tonumber(published) < tonumber(applied) then
          published = applied -- a client that numbers its events by XADD publishes more than the script noted
        end
        convert(producer, published, applied, number_text(held[3]), number_text(held[4]),
          held[5] and number_text(held[5]) or now)
      end
    end
  end
  if records > 0 then
    local sums = redis.call('HMGET', new_sums, 'published', 'records')
    redis.call('HSET', new_sums, 'published', digits(number(sums[1]) + published_of_all),
      'records', digits(number(sums[2]) + records))
  end
  return {'converted', slice[1], #slice[2] / 2}
end

local sums = redis.call('HMGET', new_sums, 'published', 'records')
local gone = redis.call('HMGET', stats, 'pruned', 'pruned_dead', 'pruned_lost')
local published = number(sums[1]) + number(gone[1])

redis.call('UNLINK', producers, retired, seen, ended, new_sums)
if redis.call('EXISTS', new_producers) == 1 then
  redis.call('RENAME', new_producers, producers)
  redis.call('RENAME', new_seen, seen)
end
if number(gone[1]) > 0 then
  redis.call('HSET', ended, 'published', gone[1], 'applied', gone[1], 'dead', digits(number(gone[2])),
    'lost', digits(number(gone[3])))
end
redis.call('HDEL', stats, 'pruned', 'pruned_dead', 'pruned_lost', 'entries')
if published > 0 then
  redis.call('HSET', stats, 'published', digits(published))
end
redis.call('SET', id, ARGV[2], 'NX')
redis.call('SET', contract, '2')
return {'switched', number(sums[2]), digits(published)}
