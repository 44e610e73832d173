-- join: one more member of a batch is in flight: it waits for its turn, or runs; only while the batch has the lock.
--
-- KEYS[1]  lock       string, the token of who holds it: here the batch's
-- KEYS[2]  holder     string, the holder's record
-- KEYS[3]  members    hash, member -> its metadata, JSON; at "batch" the batch's token
-- KEYS[4]  inflight   sorted set, member -> alive until, milliseconds; those that wait have no end
-- KEYS[5]  questions  string, for a minute: there once the member has departed, or runs no more
-- KEYS[6]  other      string, with ARGV[2]: the same, of the member that this one was
-- ARGV[1]  mark       "<the batch's token>:<member>"
-- ARGV[2]  waited     the member that this run was while it waited, or nothing
-- ARGV[3]  lease      the lock stays the batch's for at least so long, milliseconds
-- ARGV[4]  runs       1: it runs, and counts for as long as the lease is renewed; 0: it waits
-- ARGV[5]  metadata   of the member, for others to see, JSON
--
-- maxmemory  refused, but for a member that has waited
--
-- returns  1 it counts; 0 the lock is not the batch's (any more)

-- clock.lua
-- fence.lua

local lock, holder, members, inflight = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, member = string.match(ARGV[1], '^(%w+):(%w+)$')

if redis.call('GET', lock) ~= token then
    return 0
end
-- A late copy: of a run that is over, of a message that was answered for, or of a step aside before the end.
local steps_aside = ARGV[2] ~= '' and ARGV[4] == '0'
local ended = redis.call('GET', steps_aside and KEYS[6] or KEYS[5])
if ended and (ended ~= 'aside' or ARGV[4] == '1') then
    return 0
end
if redis.call('HGET', members, 'batch') ~= token then
    -- Left behind by a batch whose lock was taken from it.
    redis.call('DEL', members, inflight)
    redis.call('HSET', members, 'batch', token)
end

local now = server_ms()

if ARGV[2] ~= '' then
    redis.call('ZREM', inflight, ARGV[2])
    redis.call('HDEL', members, ARGV[2])
    if ARGV[4] == '0' then
        redis.call('SET', KEYS[6], 'aside', 'PX', '60000')
    end
end
redis.call('HSET', members, member, ARGV[5])
redis.call('ZADD', inflight, ARGV[4] == '1' and now + ARGV[3] or '+inf', member)

local lease = math.max(redis.call('PTTL', lock), tonumber(ARGV[3]))
local last = redis.call('ZRANGE', inflight, -1, -1, 'WITHSCORES')[2]
if last ~= 'inf' then
    -- Nobody waits any more: should all who run die now, the lock ends with their leases, as after a departure.
    lease = last - now
end
for _, key in ipairs({lock, members, inflight}) do
    redis.call('PEXPIRE', key, lease)
end
redis.call('PEXPIRE', holder, lease + RECORD_MS)
return 1
