-- group: how is it known that several hold a lock? A function for the scripts of shared locks.
--
-- While a lock is shared its key holds the group mark, which ends with the longest of the leases: see sharers.lua.

-- 32 characters, like a token: so each script of the exclusive lock finds a description in the holder's record.
local function group_mark()
    return 'see:redislock.sharers:and:places'
end
