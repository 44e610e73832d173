-- free: give the publish lock back, only if it is the caller's.
--
-- KEYS[1]  reservation  string, "<token> <work>"
-- KEYS[2]  questions    string, for a minute: up to which number the token's questions are answered
-- ARGV[1]  token        the caller's token
-- ARGV[2]  number       the questions up to this one are over: what a later one has taken stays
--
-- maxmemory  works
--
-- returns  1 given back, 0 not the caller's (any more)

local over = redis.call('GET', KEYS[2])
if over and tonumber(over) > tonumber(ARGV[2]) then
    return 0
end
local is_there = string.sub(redis.call('GET', KEYS[1]) or '', 1, 32) == ARGV[1]
-- Without a key it frees nothing, and yet lets the next through at maxmemory.
redis.call('DEL', is_there and KEYS[1] or KEYS[2])
-- A late copy of the question takes nothing: none is on its way for longer.
redis.call('SET', KEYS[2], ARGV[2], 'PX', '60000')
return is_there and 1 or 0
