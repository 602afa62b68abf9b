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

-- A number that a hash may hold; 0 where it holds none.
local function number(text)
  return tonumber(text or 0) or 0
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

-- The record of a producer in the hash `retired`, "number dead lost seen", as these four; nothing where it is none.
local function retired_numbers(record)
  return (record or ''):match('^(%d+) (%d+) (%d+) (%d+)$')
end

-- Bring the record of a producer back from `retired`. It counts as seen now: by an older time it would retire again
-- before it is used.
local function unretire(producers, retired, producer)
  local applied, dead, lost = retired_numbers(redis.call('HGET', retired, producer))
  redis.call('HSET', producers, producer .. ':applied', applied, producer .. ':dead', dead, producer .. ':lost', lost,
    producer .. ':seen', redis.call('TIME')[1] .. '000')
  redis.call('HDEL', retired, producer)
end
