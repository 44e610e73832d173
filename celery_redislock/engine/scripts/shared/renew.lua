-- renew: a full lease of a place from now, only if the caller still has it; never takes one.
--
-- KEYS[1]  lock       string, the group mark, or the token of who holds it alone
-- KEYS[2]  holder     string, the record of one holder
-- KEYS[3]  questions  string, there if the place was taken from the caller by force; see force.lua
-- KEYS[4]  sharers    sorted set, token -> end of its lease, see sharers.lua
-- KEYS[5]  places     hash, token -> slot, fencing token, since, metadata
-- KEYS[6]  gaps       sorted set, the free slots below the highest in use
-- ARGV[1]  token      the caller's token
-- ARGV[2]  ttl        length of the lease, milliseconds
--
-- maxmemory  works
--
-- returns  1 renewed, 0 not the caller's any more, -1 taken from it by force

local keys = {lock = KEYS[1], holder = KEYS[2], sharers = KEYS[4], places = KEYS[5], gaps = KEYS[6]}

-- clock.lua
-- fence.lua
-- force.lua
-- turn.lua
-- group.lua
-- sharers.lua

local now = server_ms()
local is_shared = redis.call('GET', keys.lock) == group_mark()
if is_shared then
    drop_expired(keys, now)
end
if not is_shared or not redis.call('HGET', keys.places, ARGV[1]) then
    return is_forced(redis.call('GET', KEYS[3])) and -1 or 0
end
-- Changes nothing; it lets the next through at maxmemory.
redis.call('PEXPIRE', keys.lock, redis.call('PTTL', keys.lock))
redis.call('ZADD', keys.sharers, 'GT', now + ARGV[2], ARGV[1])
go_on(keys, longest_left(keys, now))
return 1
