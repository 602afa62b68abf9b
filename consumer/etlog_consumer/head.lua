#!lua flags=allow-oom
-- In front of each of the consumer's scripts that write: they are loaded as one text, this one first.
--
--   KEYS[1]  string  version of the contract that the other keys follow
--
-- An error that begins with CONTRACT and that version says that the script does not know it; nothing was changed.
-- A store that is full does not refuse these scripts (allow-oom): only what is applied can leave the stream and make
-- room, and applying needs all of them.

local CONTRACT = 1

local contract = KEYS[1]
local version = redis.call('GET', contract)
if version and not (version:match('^%d+$') and tonumber(version) <= CONTRACT) then
  return redis.error_reply('CONTRACT ' .. version .. ' is what the log follows, this script knows none above ' .. CONTRACT)
end

-- Note the version, in the step of the first write.
local function note_version()
  if not version then
    redis.call('SET', contract, CONTRACT)
  end
end

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

-- A number as the store shall hold it: all of its digits.
local function digits(value)
  return string.format('%.0f', value)
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
