-- owned: whether the caller has its place still.
--
-- KEYS[1]  lock     string, the group mark, or the token of who holds it alone
-- KEYS[2]  sharers  sorted set, token -> end of its lease, see sharers.lua
-- KEYS[3]  places   hash, token -> slot, fencing token, since, metadata
-- ARGV[1]  token    the caller's token
--
-- maxmemory  only reads
--
-- returns  1 yes, 0 no

-- clock.lua
-- fence.lua
-- group.lua

local rank = redis.call('GET', KEYS[1]) == group_mark() and redis.call('ZRANK', KEYS[2], ARGV[1])
if not rank or not redis.call('HGET', KEYS[3], ARGV[1]) then
    return 0
end
-- Those that end before it are forgotten by the scripts that write.
local ends = redis.call('ZRANGE', KEYS[2], rank, rank, 'WITHSCORES')[2]
return tonumber(ends) > server_ms() and 1 or 0
