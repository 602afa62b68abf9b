#!lua flags=allow-oom
-- In front of each of the consumer's scripts that write, which begin with this file, `contract.lua` and their own.
--
-- A store that is full does not refuse them (allow-oom): only what is applied can leave the stream and make room, and
-- applying needs all of them.

-- An answer that lists name, value, name, value ... as a table.
local function named(list)
  local found = {}
  for i = 1, #list, 2 do
    found[list[i]] = list[i + 1]
  end
  return found
end

-- A number that a hash may hold; 0 where it holds none that is exact, as `number_of` in Python says.
local function number(text)
  local found = tonumber((text or ''):match('^%d+$') or 0)
  return found <= 9007199254740991 and found or 0
end

-- A number as the store must hold it: all of its digits.
local function digits(value)
  return string.format('%.0f', value)
end

-- The error of a key that holds another type, nothing where it is right or absent.
local function require_type(key, expected)
  local found = redis.call('TYPE', key).ok
  if found ~= expected and found ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. key .. ' should be a ' .. expected .. ', it is a ' .. found)
  end
end

-- Whether a text is an entry's id, the milliseconds in one, and whether one id comes after another.
local function is_id(text)
  return text:match('^%d+%-%d+$') ~= nil
end

local function milliseconds(id)
  return tonumber(id:match('^%d+'))
end

local function after(a, b)
  local a_time, b_time = milliseconds(a), milliseconds(b)
  return a_time > b_time or (a_time == b_time and tonumber(a:match('%d+$')) > tonumber(b:match('%d+$')))
end

-- The store's clock in milliseconds.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What a hash holds under these names, as a table; 0 where it holds no number.
local function numbers_of(hash, names)
  local found = {}
  for i, text in ipairs(redis.call('HMGET', hash, unpack(names))) do
    found[names[i]] = number(text)
  end
  return found
end

local OUTCOMES = {'applied', 'dead', 'duplicate', 'lost', 'unnumbered', 'dead_dropped', 'published', 'entries'}

-- Events that were published under a number and are not accounted for.
local function unaccounted(stats)
  return stats.published - (stats.applied + stats.dead + stats.lost - stats.unnumbered)
end

-- What XINFO GROUPS tells of the stream's group of this name, nothing where it has none.
local function group_of(events, name)
  for _, found in ipairs(redis.call('XINFO', 'GROUPS', events)) do
    found = named(found)
    if found['name'] == name then
      return found
    end
  end
end

-- How the stream ends: the id that it gave last, how many entries it was ever given, and whether none is left behind the
-- entry `at`. XINFO STREAM knows the first two, but it also copies the first and the last entry, which takes seconds for
-- one of a million fields. A group that stands at the end and has read nothing is told as many: that is its lag.
local function end_of(events, at)
  local probe = 'etlog:end'
  redis.pcall('XGROUP', 'CREATE', events, probe, '$')
  redis.call('XGROUP', 'SETID', events, probe, '$', 'ENTRIESREAD', 0)
  local found = group_of(events, probe)
  redis.call('XGROUP', 'DESTROY', events, probe)
  local last, added = found['last-delivered-id'], found['lag']
  if added and added > 0 then
    return last, added, last == at or redis.call('XLEN', events) == 0
  end
  -- The last entry was deleted, or there was never one.
  added = named(redis.call('XINFO', 'STREAM', events))['entries-added']
  return last, added, last == at or #redis.call('XRANGE', events, '(' .. at, '+', 'COUNT', 1) == 0
end

-- The record of a producer, by the text that `publish.lua` writes, too; where there is none, one without numbers.
local function record_of(text)
  local published, applied, dead, lost, seen, token, closed = (text or ''):match(
    '^published=(%d+) applied=(%d+) dead=(%d+) lost=(%d+) seen=(%d+) token=(%S*)( ?%a*)$')
  return {published = number(published), applied = number(applied), dead = number(dead), lost = number(lost),
    seen = tonumber(seen), token = token or '', closed = closed == ' closed', known = published ~= nil}
end

local function record_text(record)
  return 'published=' .. digits(record.published) .. ' applied=' .. digits(record.applied)
    .. ' dead=' .. digits(record.dead) .. ' lost=' .. digits(record.lost) .. ' seen=' .. digits(record.seen)
    .. ' token=' .. record.token .. (record.closed and ' closed' or '')
end

-- Give up the records of these producers, name, record, name, record ...: only their sums are kept.
local function fold(producers, seen, ended, gone)
  if #gone == 0 then
    return
  end
  local sums = numbers_of(ended, {'published', 'applied', 'dead', 'lost'})
  for i = 1, #gone, 2 do
    redis.call('HDEL', producers, gone[i])
    redis.call('ZREM', seen, gone[i])
    for name, sum in pairs(sums) do
      sums[name] = sum + gone[i + 1][name]
    end
  end
  for name, sum in pairs(sums) do
    redis.call('HSET', ended, name, digits(sum))
  end
end

-- How many of the places in the sorted set `trim` are passed at once at most, for the store does nothing else meanwhile.
local TRIM_AT_ONCE = 20

-- Trim the stream: of `passed` events up to the entry `cursor`, keep the newest `retain` and what is not applied.
local function trim_stream(events, trim, cursor, passed, retain)
  local found = redis.call('ZRANGEBYSCORE', trim, '-inf', digits(passed - retain), 'LIMIT', 0, TRIM_AT_ONCE)
  local last
  for _, id in ipairs(found) do
    if not is_id(id) or after(id, cursor) then
      redis.call('ZREM', trim, id) -- of a time before the cursor was set back
    else
      last = id
    end
  end
  if last then
    redis.call('XTRIM', events, 'MINID', last)
    redis.call('ZREMRANGEBYSCORE', trim, '-inf', '(' .. redis.call('ZSCORE', trim, last))
    redis.call('ZREM', trim, last)
  end
end
