-- In front of a script that writes: both are loaded as one text.
--
--   KEYS[1]  string  version of the contract that the other keys follow
--
-- An error that begins with CONTRACT and that version says that the script does not know it; nothing was changed.

local CONTRACT = '2'

local contract = KEYS[1]
local version = redis.call('GET', contract)
if version and version ~= CONTRACT then
  return redis.error_reply('CONTRACT ' .. version .. ' is not ' .. CONTRACT .. ', the one of this script')
end

-- Note the version, in the step of the first write.
local function note_version()
  if not version then
    redis.call('SET', contract, CONTRACT)
  end
end
