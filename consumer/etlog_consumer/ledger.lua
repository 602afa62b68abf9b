-- In front of the scripts that write rows of the ledger, behind `contract.lua`. Of one category:
--
--   sets     hash        the ledger: interval of a set -> its row
--   changes  sorted set  the same intervals -> `applied` when the row last changed

-- Lists of arguments, each led by its length, are taken one after the other. Where the next one begins:
local position

-- The places in ARGV of the first and the last argument of the next list, whose items are `width` arguments each.
local function take_list(width)
  local first = position + 1
  local last = position + tonumber(ARGV[position]) * width
  position = last + 1
  return first, last
end

local LEDGER_AT_ONCE = 1000 -- of what is unpacked to one command

-- Whether both keys hold as many rows as the caller knows: someone else may have removed some, or a whole key.
local function holds_rows(sets, changes, rows)
  return redis.call('HLEN', sets) == rows and redis.call('ZCARD', changes) == rows
end

-- Drop the rows of the intervals that stand in ARGV from `first` to `last`.
local function drop_rows(sets, changes, first, last)
  for start = first, last, LEDGER_AT_ONCE do
    local stop = math.min(last, start + LEDGER_AT_ONCE - 1)
    redis.call('HDEL', sets, unpack(ARGV, start, stop))
    redis.call('ZREM', changes, unpack(ARGV, start, stop))
  end
end

-- Put the rows that stand in ARGV from `first` to `last`, interval, text, interval, text ...
local function put_rows(sets, changes, score, first, last)
  for start = first, last, LEDGER_AT_ONCE do
    local stop = math.min(last, start + LEDGER_AT_ONCE - 1)
    redis.call('HSET', sets, unpack(ARGV, start, stop))
    local scored = {}
    for i = start, stop, 2 do
      scored[#scored + 1] = score
      scored[#scored + 1] = ARGV[i]
    end
    redis.call('ZADD', changes, unpack(scored))
  end
end
