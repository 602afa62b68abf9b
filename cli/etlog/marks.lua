-- Put a mark, or remove one, and remove those that are long over.
--
-- EVALSHA <sha> 2 contract marks  most id mark [old ...]
--
--   contract  string  version of the contract that the log follows
--   marks     hash    id -> mark; the field `revision` counts the changes
--   most              marks that a log may have
--   id                of the mark
--   mark              its text; "" to remove it
--   old               ids of the marks that are long over
--
-- Returns "done", "full" if there is no room for one more, or "unknown" for an id that is not there. A log that nothing
-- was published to has no contract yet, and gets none here: it begins with its first event.

local marks = KEYS[2]
local most, id, mark = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local answer = 'done'
local changes = 0

for i = 4, #ARGV do
  changes = changes + redis.call('HDEL', marks, ARGV[i])
end
if mark == '' then
  local removed = redis.call('HDEL', marks, id)
  changes = changes + removed
  answer = removed == 1 and 'done' or 'unknown'
elseif redis.call('HLEN', marks) - redis.call('HEXISTS', marks, 'revision') >= most then
  answer = 'full'
else
  redis.call('HSET', marks, id, mark)
  changes = changes + 1
end
if changes > 0 then
  local counted = redis.pcall('HINCRBY', marks, 'revision', 1)
  if type(counted) == 'table' and counted.err then  -- someone else wrote what is not a number
    redis.call('HSET', marks, 'revision', 1)
  end
end
return answer
