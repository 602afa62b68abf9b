-- Check that stream, cursor and group belong together, and repair what others broke. Note in the stats when nothing waits,
-- and trim the stream, for a log to which nothing comes.
--
-- EVALSHA <sha> 5 contract events cursor stats trim  group retain
--
--   contract  string      version of the contract that the log follows
--   events    stream      the entries
--   cursor    string      id of the last applied entry
--   stats     hash        entries, caught_up and others
--   trim      sorted set  id of an applied entry -> events up to it
--   group                 the consumer group of the stream that mirrors the cursor
--   retain                events that stay in the stream
--
-- Returns {cursor, entries_read, ahead, finding ...}: where the log stands now ("0-0": nothing is applied), how many
-- entries of the stream are read up to there ("" where unknown), how far the entries go that may have been applied before
-- the cursor was set back ("": it was not), and what was wrong:
--   cursor-gone   there was none: taken from the group that mirrors it
--   cursor-back   it was before the group that mirrors it, or both were gone from a log that has applied something: others
--                 set it back, so what comes now was applied before, up to the group or to the end of the stream
--   cursor-ahead  it was past the end of the stream: set back to the group, or to the beginning where that is past
--                 the end, too. What is applied a second time has a number, and is recognized as a duplicate by it
--   stream-gone   made anew; its next id follows the cursor, whatever the clock says
--   group-gone    made anew
-- How far it goes that was applied before a cursor was set back is kept in `trim`, under an endless score, until the
-- cursor has passed it again.
-- All that can fail is read before the first write: what a script has written before an error stays written.

local events, cursor, stats, trim, group, retain = KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1], tonumber(ARGV[2])
local findings, ahead = {}, ''

local wrong = require_type(events, 'stream') or require_type(stats, 'hash') or require_type(trim, 'zset')
if wrong then
  return wrong
end

-- What comes up to the entry `last` was applied before.
local function apply_again(last)
  redis.call('DEL', trim) -- its scores are of the time before
  redis.call('ZADD', trim, '+inf', last)
  redis.call('HSET', stats, 'entries', 0) -- the numbers do not tell what waits
end

local sums = numbers_of(stats, OUTCOMES)
local at = redis.call('GET', cursor)
local exists = redis.call('EXISTS', events) == 1
local seen = exists and group_of(events, group)

if not at and seen and seen['last-delivered-id'] ~= '0-0' then
  at = seen['last-delivered-id']
  redis.call('SET', cursor, at)
  findings[#findings + 1] = 'cursor-gone'
end

if not exists then
  redis.call('XGROUP', 'CREATE', events, group, at or '0', 'MKSTREAM')
  if at then
    redis.call('XSETID', events, at)
    findings[#findings + 1] = 'stream-gone'
  end
else
  local last = end_of(events, at or '0-0')
  if at and after(at, last) then
    if redis.call('XLEN', events) == 0 then
      redis.call('XSETID', events, at)
    else
      local back = seen and seen['last-delivered-id'] or '0-0'
      at = after(back, last) and '0-0' or back
      redis.call('SET', cursor, at)
      apply_again(last)
    end
    findings[#findings + 1] = 'cursor-ahead'
  elseif seen and after(seen['last-delivered-id'], at or '0-0') then
    apply_again(seen['last-delivered-id'])
    redis.call('XGROUP', 'SETID', events, group, at or '0')
    findings[#findings + 1] = 'cursor-back'
  elseif not at and not seen and sums.applied > 0 and last ~= '0-0' then
    apply_again(last)
    findings[#findings + 1] = 'cursor-back'
  end
  if not seen then
    redis.call('XGROUP', 'CREATE', events, group, at or '0')
    if at then
      findings[#findings + 1] = 'group-gone'
    end
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', trim, '+inf', '+inf')) do
  if not is_id(id) or not after(id, at or '0-0') then
    redis.call('ZREM', trim, id)
  else
    ahead = id
  end
end

local added, nothing_waits = select(2, end_of(events, at or '0-0'))
if at and nothing_waits then
  redis.call('HSET', stats, 'caught_up', digits(clock()), 'entries', digits(added))
  redis.call('XGROUP', 'SETID', events, group, at, 'ENTRIESREAD', added) -- whatever was deleted, or others did to it
end

seen = group_of(events, group)
local entries_read = ''
if not at or at == '0-0' then
  entries_read = '0'
elseif seen['last-delivered-id'] == at and seen['entries-read'] then
  entries_read = digits(seen['entries-read'])
end
if at then
  trim_stream(events, trim, at, sums.applied + sums.dead + sums.duplicate, retain)
end
return {at or '0-0', entries_read, ahead, unpack(findings)}
