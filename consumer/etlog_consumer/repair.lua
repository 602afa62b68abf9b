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
-- entries of the stream are read up to there ("" where unknown), where it stood ahead of the stream ("": it did not), and
-- what was wrong:
--   cursor-gone   there was none: taken from the group that mirrors it
--   cursor-ahead  it was past the end of the stream: set back to the group, or to the beginning where that is past
--                 the end, too. What is applied a second time has a number, and is recognized as a duplicate by it
--   stream-gone   made anew; its next id follows the cursor, whatever the clock says
--   group-gone    made anew
-- All that can fail is read before the first write: what a script has written before an error stays written.

local events, cursor, stats, trim, group, retain = KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1], tonumber(ARGV[2])
local findings, ahead = {}, ''

local wrong = require_type(events, 'stream') or require_type(stats, 'hash') or require_type(trim, 'zset')
if wrong then
  return wrong
end

local function mirror()
  for _, found in ipairs(redis.call('XINFO', 'GROUPS', events)) do
    found = named(found)
    if found['name'] == group then
      return found
    end
  end
end

local at = redis.call('GET', cursor)
local exists = redis.call('EXISTS', events) == 1
local seen = exists and mirror()
local stream = exists and named(redis.call('XINFO', 'STREAM', events))

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
  if at and after(at, stream['last-generated-id']) then
    if stream['length'] == 0 then
      redis.call('XSETID', events, at)
    else
      ahead = at
      local back = seen and seen['last-delivered-id'] or '0-0'
      at = after(back, stream['last-generated-id']) and '0-0' or back
      redis.call('SET', cursor, at)
    end
    findings[#findings + 1] = 'cursor-ahead'
  end
  if not seen then
    redis.call('XGROUP', 'CREATE', events, group, at or '0')
    if at then
      findings[#findings + 1] = 'group-gone'
    end
  end
end

seen = mirror()
local entries_read = ''
if not at or at == '0-0' then
  entries_read = '0'
elseif seen['last-delivered-id'] == at then
  entries_read = tostring(seen['entries-read'] or '')
end

stream = named(redis.call('XINFO', 'STREAM', events))
local sums = numbers_of(stats, OUTCOMES)
if at and at == stream['last-generated-id'] then
  redis.call('HSET', stats, 'caught_up', digits(clock()), 'entries', stream['entries-added'])
end
if at then
  trim_stream(events, trim, at, sums.applied + sums.dead + sums.duplicate, retain)
end
return {at or '0-0', entries_read, ahead, unpack(findings)}
