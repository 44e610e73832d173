-- stay: a member of a batch still runs; the lock stays the batch's for at least a ttl from now.
--
-- KEYS[1]  lock       string, the token of who holds it: here the batch's
-- KEYS[2]  holder     string, the holder's record
-- KEYS[3]  members    hash, member -> its metadata, JSON
-- KEYS[4]  inflight   sorted set, member -> alive until, milliseconds
-- KEYS[5]  questions  string, there if the lock was taken from the batch by force; see force.lua
-- ARGV[1]  mark       "<the batch's token>:<member>"
-- ARGV[2]  ttl        length of the lease, milliseconds
--
-- maxmemory  works
--
-- returns  1 renewed; 0 the lock is not the batch's any more, -1 taken from it by force

-- clock.lua
-- fence.lua
-- force.lua

local token, member = string.match(ARGV[1], '^(%w+):(%w+)$')

if redis.call('GET', KEYS[1]) ~= token then
    return is_forced(redis.call('GET', KEYS[5])) and -1 or 0
end

local now = server_ms()

-- Never shorter: others of the batch may have left it longer than this.
local lease = math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[2]))
-- First: it needs no memory, and so lets the next through at maxmemory.
redis.call('PEXPIRE', KEYS[1], lease)
-- Not for one that has departed: this renewal was under way.
if redis.call('HGET', KEYS[3], member) then
    redis.call('ZADD', KEYS[4], now + ARGV[2], member)
end
for _, key in ipairs({KEYS[3], KEYS[4]}) do
    redis.call('PEXPIRE', key, lease)
end
redis.call('PEXPIRE', KEYS[2], lease + RECORD_MS)
return 1
