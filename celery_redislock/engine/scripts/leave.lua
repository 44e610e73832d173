-- leave: stop waiting; a turn that has already come goes on to the next waiter.
--
-- KEYS[1]  lock      string, the token of who holds it
-- KEYS[2]  holder    string, the holder's record
-- KEYS[3]  waiters   sorted set, token -> arrival in microseconds
-- KEYS[4]  seen      hash, token -> believed alive until, milliseconds
-- ARGV[1]  token     the caller's token
--
-- maxmemory  works
--
-- returns  1 the lock was the caller's and was passed on, 0 it only left the queue

-- turn.lua

local lock, holder, waiters, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token = ARGV[1]

redis.call('DEL', mailbox_of(waiters, token))
if redis.call('ZREM', waiters, token) == 1 then
    forget(waiters, seen, token)
end
if redis.call('EXISTS', waiters) == 0 then
    redis.call('DEL', seen)
end
if redis.call('GET', lock) ~= token then
    return 0
end
redis.call('DEL', lock, holder)
hand_over(lock, holder, waiters, seen, server_ms())
return 1
