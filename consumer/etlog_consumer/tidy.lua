-- Close the accounts of producers: count what vanished from the end of the stream, and drop records long idle.
--
-- EVALSHA <sha> 5 events cursor producers stats contract  from idle
--
--   events     stream  the entries
--   cursor     string  id of the last applied entry
--   producers  hash    <producer>:published, :applied, :dead, :lost, :seen
--   stats      hash    lost, pruned, pruned_dead, pruned_lost and others
--   contract   string  version of the contract that the log follows
--   from               the cursor by the caller's account
--   idle               milliseconds without an event after which a record goes, if all it published is applied
--
-- Returns {lost, pruned}, lists of producer, first, last ... and of producer ...; both are empty when the cursor is
-- elsewhere or the contract is a newer one. Publishing appends an event and notes its number in one step: so if the stream holds nothing after the
-- cursor, all numbers that were published and not applied belong to entries that somebody deleted.

local CONTRACT = 1

local events, cursor, producers, stats, contract = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local from, idle = ARGV[1], tonumber(ARGV[2])

local version = redis.call('GET', contract) or '0'
if not (version:match('^%d+$') and tonumber(version) <= CONTRACT) or (redis.call('GET', cursor) or '0-0') ~= from then
  return {{}, {}}
end
local at_end = #redis.call('XRANGE', events, '(' .. from, '+', 'COUNT', 1) == 0
local now = tonumber(redis.call('TIME')[1]) * 1000

local records = {}
local fields = redis.call('HGETALL', producers)
for i = 1, #fields, 2 do
  local producer, what = fields[i]:match('^(.*):(%l+)$')
  if producer then
    records[producer] = records[producer] or {}
    records[producer][what] = tonumber(fields[i + 1])
  end
end

local function add(field, number)
  if number > 0 then
    local held = tonumber(redis.call('HGET', stats, field) or 0) or 0
    redis.call('HSET', stats, field, string.format('%.0f', held + number))
  end
end

local lost, pruned = {}, {}
for producer, record in pairs(records) do
  local applied = record.applied or 0
  local published = record.published or applied
  if at_end and published > applied then
    local missing = published - applied
    redis.call('HSET', producers, producer .. ':applied', string.format('%.0f', published),
      producer .. ':lost', string.format('%.0f', (record.lost or 0) + missing),
      producer .. ':seen', string.format('%.0f', now))
    add('lost', missing)
    lost[#lost + 1] = producer
    lost[#lost + 1] = string.format('%.0f', applied + 1)
    lost[#lost + 1] = string.format('%.0f', published)
  elseif not record.seen then
    redis.call('HSET', producers, producer .. ':seen', string.format('%.0f', now))
  elseif published == applied and now - record.seen > idle then
    add('pruned', applied)
    add('pruned_dead', record.dead or 0)
    add('pruned_lost', record.lost or 0)
    for what in pairs(record) do
      redis.call('HDEL', producers, producer .. ':' .. what)
    end
    pruned[#pruned + 1] = producer
  end
end
return {lost, pruned}
