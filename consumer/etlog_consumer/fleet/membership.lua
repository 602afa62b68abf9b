-- Tell that a process is alive, or that it leaves, and learn who is alive.
--
-- EVALSHA <sha> 2 contract consumers  name milliseconds
--
--   contract      string      version of the contract that the processes follow; set by the first of them
--   consumers     sorted set  the processes -> until when each counts as alive, milliseconds since 1970
--   name                      the process that tells
--   milliseconds              how long it is to count as alive; 0: it leaves
--
-- Returns 1 if it did not count as alive before, else 0, and the names of those that do now. One that would count for
-- longer than any asks for is forgotten: the store's clock was set back.

local consumers, name, milliseconds = KEYS[2], ARGV[1], tonumber(ARGV[2])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', consumers, '-inf', digits(now))
if milliseconds > 0 then
  redis.call('ZREMRANGEBYSCORE', consumers, '(' .. digits(now + milliseconds), '+inf')
end
local came = 0
if milliseconds == 0 then
  redis.call('ZREM', consumers, name)
else
  note_version()
  came = redis.call('ZADD', consumers, digits(now + milliseconds), name)
  redis.call('PEXPIRE', consumers, milliseconds)
end
return {came, unpack(redis.call('ZRANGE', consumers, 0, -1))}
