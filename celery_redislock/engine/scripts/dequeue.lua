-- dequeue: give the publish lock back, only if it is the caller's.
--
-- KEYS[1]  queued  string, "<token> <work>"
-- ARGV[1]  token   the caller's token
--
-- maxmemory  works
--
-- returns  1 given back, 0 not the caller's (any more)

if string.sub(redis.call('GET', KEYS[1]) or '', 1, 32) ~= ARGV[1] then
    return 0
end
return redis.call('DEL', KEYS[1])
