-- force: how does a holder learn that its lock was taken by force? Words, and a function, for the scripts that tell.
--
-- The word stands in `questions` (string), the key of the ousted token.

-- Behind the number of the holder's last question: those up to it are over, so that no late copy takes the lock again.
local BY_FORCE = '.5'
-- The same, once the holder has asked for its release. Larger than the number of any question: all are over.
local OUSTED = '9007199254740990'

local function is_forced(word)
    return word and (word == OUSTED or string.sub(word, -2) == BY_FORCE)
end
