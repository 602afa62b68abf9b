-- Take, renew or release the lease of the active consumer.
--
-- EVALSHA <sha> 1 lease  name milliseconds
--
--   lease         string  name of the active consumer, with a time to live
--   name                  who asks
--   milliseconds          how long the lease shall last; 0 releases it
--
-- Returns the holder after the call, false where there is none.

local lease, name, milliseconds = KEYS[1], ARGV[1], tonumber(ARGV[2])

local holder = redis.call('GET', lease)
if holder and holder ~= name then
  return holder
end
if milliseconds == 0 then
  redis.call('DEL', lease)
  return false
end
redis.call('SET', lease, name, 'PX', milliseconds)
return name
