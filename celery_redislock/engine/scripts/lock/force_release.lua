-- force_release: take the lock from the holder that was seen, and let the next waiter have it.
--
-- KEYS[1]  lock       string, the token of who holds it
-- KEYS[2]  holder     string, the holder's record
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds
-- KEYS[5]  questions  string, for as long as the lease of the ousted token, and a minute: see force.lua
-- ARGV[1]  owner      what the lock held when the caller looked: a second send must not oust the next holder
--
-- maxmemory  works
--
-- returns  1 taken, 0 that holder does not hold it any more

-- clock.lua
-- fence.lua
-- force.lua
-- turn.lua

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
local left = redis.call('PTTL', KEYS[1])
local holding, question = string.match(redis.call('GET', KEYS[2]) or '', '^(%S+) .* (%d+)$')
redis.call('DEL', KEYS[1])
redis.call('PEXPIRE', KEYS[2], RECORD_MS)
-- Only for a holder of ours. Another program does not ask; and who has its turn has not held it yet, and asks again.
if holding == ARGV[1] then
    redis.call('SET', KEYS[5], question .. BY_FORCE, 'PX', math.max(left, 0) + RECORD_MS)
end
hand_over(KEYS[1], KEYS[2], KEYS[3], KEYS[4], server_ms())
return 1
