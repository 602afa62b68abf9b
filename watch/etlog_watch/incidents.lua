-- Hold the place of the watcher that tells people of a log, and change what is kept of its incidents.
--
-- EVALSHA <sha> 2 contract incidents  watcher milliseconds revision [field value ...]
--
--   contract      string  version of the contract that the log follows
--   incidents     hash    `incident:<id>`, `message:<id>` and `target:<key>` -> JSON; `watcher`, `revision`
--   watcher               id of the process that asks
--   milliseconds          for how long it is to hold the place; 0 leaves it
--   revision              the number of changes that it knows of; "" if it changes nothing
--   field, value          what is to be put; a value of "" removes the field
--
-- Returns the watcher that holds the place, "" for none, the number of changes, and whether this one was made: not if
-- another watcher holds the place, or made changes that this one does not know of. A place that is held for longer than
-- a minute is free: the store's clock was set back, or the field was set by hand.

local incidents = KEYS[2]
local watcher, milliseconds, known = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held, revision = unpack(redis.call('HMGET', incidents, 'watcher', 'revision'))
revision = string.match(revision or '', '^%d+$') or '0'  -- else someone else wrote it
local holder, till = string.match(held or '', '^(%S+) (%d+)$')
till = tonumber(till or 0)
if holder and holder ~= watcher and till > now and till <= now + math.max(milliseconds, 60000) then
  return {holder, revision, 0}
end
if milliseconds == 0 then
  if holder == watcher then
    redis.call('HDEL', incidents, 'watcher')
  end
  return {'', revision, 0}
end
redis.call('HSET', incidents, 'watcher', string.format('%s %.0f', watcher, now + milliseconds))
if known == '' or known ~= revision then
  return {watcher, revision, 0}
end
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', incidents, ARGV[i])
  else
    redis.call('HSET', incidents, ARGV[i], ARGV[i + 1])
  end
end
local counted = string.format('%.0f', tonumber(revision) + 1)
redis.call('HSET', incidents, 'revision', counted)
return {watcher, counted, 1}
