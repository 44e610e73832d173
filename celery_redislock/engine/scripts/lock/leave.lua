-- leave: stop waiting; a turn that has already come goes on to the next waiter.
--
-- KEYS[1]  lock       string, the token of who holds it
-- KEYS[2]  holder     string, "<token> <fencing token> <since, ms> <metadata> <number of the question>"
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds
-- KEYS[5]  questions  string, for a minute: up to which number the token's questions are over
-- ARGV[1]  token      the caller's token
-- ARGV[2]  number     the questions up to this one are over: what was granted to a later one stays
--
-- maxmemory  works
--
-- returns  1 the lock was the caller's and was passed on, 0 it only left the queue

-- clock.lua
-- fence.lua
-- turn.lua

local lock, holder, waiters, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local questions, token, number = KEYS[5], ARGV[1], ARGV[2]

redis.call('DEL', mailbox_of(waiters, token))
if redis.call('ZREM', waiters, token) == 1 then
    forget(waiters, seen, token)
end
if redis.call('EXISTS', waiters) == 0 then
    redis.call('DEL', seen)
end
local over = redis.call('GET', questions)
if over and tonumber(over) > tonumber(number) then
    return 0
end
-- A late copy takes nothing: none is on its way for longer.
redis.call('SET', questions, number, 'PX', '60000')
if redis.call('GET', lock) ~= token then
    return 0
end
local holding, question = string.match(redis.call('GET', holder) or '', '^(%S+) .* (%d+)$')
if holding == token and tonumber(question) > tonumber(number) then
    return 0
end
redis.call('DEL', lock)
redis.call('PEXPIRE', holder, RECORD_MS)
hand_over(lock, holder, waiters, seen, server_ms())
return 1
