-- Take dead letters out, and put their bytes, or corrected ones, back into the stream.
--
-- EVALSHA <sha> 3 contract dead events  id mode event [id mode event ...]
--
--   contract  string  version of the contract that the log follows
--   dead      stream  refused events
--   events    stream  the entries that the consumer reads
--   id                of the letter in `dead`
--   mode              "requeue" or "drop"
--   event             what to put back; unused for "drop"
--
-- Returns the ids in `events`, "" for a letter that was dropped, false for one that is not there any more.
-- An event is put back as an entry of its own, without a number: that of the letter is accounted for already. A store
-- that is full refuses the call, unlike the consumer's, so this script begins with `contract.lua`, but not with their
-- head.

local dead, events = KEYS[2], KEYS[3]
local answers = {}

for i = 1, #ARGV, 3 do
  local id, mode, event = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local answer = false
  if #redis.call('XRANGE', dead, id, id) > 0 then
    -- The new entry comes first: if the store refuses it, the letter stays.
    answer = mode == 'requeue' and redis.call('XADD', events, '*', 'event', event) or ''
    redis.call('XDEL', dead, id)
  end
  answers[#answers + 1] = answer
end
return answers
