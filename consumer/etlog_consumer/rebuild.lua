-- Put right, in steps, what the ledger of one category holds.
--
-- EVALSHA <sha> 7 contract cursor stats counters unrowed sets changes  from rebuilt rows category anew filling, then
--              five lists, each led by its length
--
--   contract  string      version of the contract that the log follows
--   cursor    string      id of the last applied entry
--   stats     hash        applied, rebuilt (when this was done last, in milliseconds), filling:<category>
--                        and others
--   counters  hash        kind -> events applied
--   unrowed   hash        kind -> events that are in no row any more
--   sets      hash        the ledger: interval of a set -> its row
--   changes   sorted set  the same intervals -> `applied` when the row last changed
--
--   from             the cursor by the caller's account ("0-0": nothing applied yet)
--   rebuilt, rows    when this was done last, and how many rows there are, by the caller's account
--   category
--   anew             "sets": no row stays; "changes": `changes` is made anew, by this step and those that follow; or ""
--   filling          "1": steps that put rows are to follow, which is noted in `stats`; or ""
--   kind, number     of `counters`, to set
--   kind, number     of `unrowed`, to set
--   interval         whose rows are dropped
--   interval, row    to put
--   interval         of rows that stay and are to stand in `changes`
--
-- Returns `rebuilt` as it is now, or false where the log or the ledger is not as the caller knows it, with nothing
-- changed. It never comes to the same number again, so a reader with a copy of the rows sees that it is of no use.
-- All that can fail is read before the first write: what a script has written before an error stays written.

local cursor, stats, counters, unrowed, sets, changes = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local from, rebuilt, rows, category, anew = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local filling = ARGV[6] ~= ''
position = 7

local wrong = require_type(stats, 'hash') or require_type(counters, 'hash') or require_type(unrowed, 'hash')
  or require_type(sets, 'hash') or require_type(changes, 'zset')
if wrong then
  return wrong
end
local held = numbers_of(stats, {'applied', 'rebuilt'})
if (redis.call('GET', cursor) or '0-0') ~= from or held.rebuilt ~= rebuilt or redis.call('HLEN', sets) ~= rows then
  return false
end
local score = digits(held.applied)

rebuilt = math.max(rebuilt + 1, clock())
redis.call('HSET', stats, 'rebuilt', digits(rebuilt))
if filling then
  redis.call('HSET', stats, 'filling:' .. category, '1')
else
  redis.call('HDEL', stats, 'filling:' .. category)
end
if anew ~= '' then
  redis.call('UNLINK', changes)
end
if anew == 'sets' then
  redis.call('UNLINK', sets)
end
local first, last
for _, hash in ipairs({counters, unrowed}) do
  first, last = take_list(2)
  if last > first then
    redis.call('HSET', hash, unpack(ARGV, first, last))
  end
end
drop_rows(sets, changes, take_list(1))
first, last = take_list(2)
put_rows(sets, changes, score, first, last)
first, last = take_list(1)
for i = first, last do
  redis.call('ZADD', changes, score, ARGV[i])
end
return rebuilt
