-- Scan entries backwards and name every n-th: the ids up to which the stream may later be trimmed.
--
-- EVALSHA <sha> 1 events  from count step
--
--   events  stream
--   from            id to start at, itself included
--   count           entries to scan at most
--   step            every how many entries to name one
--
-- Returns {scanned, last, id, id ...}, newest first: how many entries were scanned, the id of the last of them ("" for
-- none), and the ids of the entries 1, 1 + step, 1 + 2 step … of these.

local events = KEYS[1]
local from, count, step = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local entries = redis.call('XREVRANGE', events, from, '-', 'COUNT', count)
local found = {#entries, #entries > 0 and entries[#entries][1] or ''}
for i = 1, #entries, step do
  found[#found + 1] = entries[i][1]
end
return found
