-- inspect: who holds the lock, for how long yet, and how many wait; never the token.
--
-- KEYS[1]  lock     string, the token of who holds it
-- KEYS[2]  holder   string, the holder's record
-- KEYS[3]  waiters  sorted set, token -> arrival in microseconds
--
-- maxmemory  only reads
--
-- returns  {lease left in milliseconds (-1: for ever, -2: free), description, number of waiters,
--          1 if it was released and is only kept for its min_hold}

-- turn.lua

local owner = redis.call('GET', KEYS[1])
return {
    redis.call('PTTL', KEYS[1]),
    description(redis.call('GET', KEYS[2]), owner),
    redis.call('ZCARD', KEYS[3]),
    (owner and string.sub(owner, 33) == ':kept') and 1 or 0,
}
