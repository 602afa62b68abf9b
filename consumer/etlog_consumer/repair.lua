-- Check that stream, cursor and group belong together, and repair what others broke.
--
-- EVALSHA <sha> 3 contract events cursor  group
--
--   contract  string  version of the contract that the log follows
--   events    stream  the entries
--   cursor    string  id of the last applied entry
--   group             the consumer group of the stream that mirrors the cursor
--
-- Returns {cursor, entries_read, finding ...}: where the log stands now ("0-0": nothing is applied), how many entries
-- of the stream are read up to there ("" where unknown), and what was wrong:
--   cursor-gone   there was none: taken from the group that mirrors it
--   cursor-ahead  it was past the end of the stream: set back to the group, or to the beginning where that is past
--                 the end, too. What is applied a second time has a number, and is recognized as a duplicate by it
--   stream-gone   made anew; its next id follows the cursor, whatever the clock says
--   group-gone    made anew
-- All that can fail is read before the first write: what a script has written before an error stays written.

local events, cursor, group = KEYS[2], KEYS[3], ARGV[1]
local findings = {}

local function after(a, b)
  local a_time, a_place = a:match('^(%d+)-(%d+)$')
  local b_time, b_place = b:match('^(%d+)-(%d+)$')
  a_time, b_time = tonumber(a_time), tonumber(b_time)
  return a_time > b_time or (a_time == b_time and tonumber(a_place) > tonumber(b_place))
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
return {at or '0-0', entries_read, unpack(findings)}
