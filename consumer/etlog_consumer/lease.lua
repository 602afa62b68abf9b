-- Take, renew or release the lease of the active consumer.
--
-- EVALSHA <sha> 2 contract lease  name milliseconds
--
--   contract      string  version of the contract that the log follows
--   lease         string  name of the active consumer, with a time to live
--   name                  who asks
--   milliseconds          how long the lease is to last; 0 releases it
--
-- Returns the holder after the call, false where there is none. A lease that would last longer than that, or for ever,
-- is cut to it: the store's clock was set back, or the key was set by hand.

local lease, name, milliseconds = KEYS[2], ARGV[1], tonumber(ARGV[2])

local holder = redis.call('GET', lease)
if holder and holder ~= name then
  local left = redis.call('PTTL', lease)
  if milliseconds > 0 and (left < 0 or left > milliseconds) then
    redis.call('PEXPIRE', lease, milliseconds)
  end
  return holder
end
if milliseconds == 0 then
  redis.call('DEL', lease)
  return false
end
redis.call('SET', lease, name, 'PX', milliseconds)
return name
