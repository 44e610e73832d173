-- renew: a full lease from now, only if the caller still holds the lock; never creates it.
--
-- KEYS[1]  lock       string, the token of who holds it
-- KEYS[2]  holder     string, the holder's record
-- KEYS[3]  pending    hash, the pending runs of the lock; "stop" has the token of a holder that is to stop
-- KEYS[4]  questions  string, there if the lock was taken from the caller by force; see force.lua
-- ARGV[1]  token      the caller's token
-- ARGV[2]  ttl        length of the lease, milliseconds
--
-- maxmemory  works
--
-- returns  1 renewed, 2 renewed, and the caller is asked to stop; 0 not the caller's any more, -1 taken from it by force

-- fence.lua
-- force.lua

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return is_forced(redis.call('GET', KEYS[4])) and -1 or 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2] + RECORD_MS)
local stop = redis.call('HGET', KEYS[3], 'stop')
return (stop and string.sub(stop, 1, 32) == ARGV[1]) and 2 or 1
