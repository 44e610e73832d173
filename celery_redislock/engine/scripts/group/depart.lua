-- depart: a member of a batch has ended; with the last one the batch has, and gives the lock back.
--
-- KEYS[1]  lock       string, the token of who holds it: here the batch's
-- KEYS[2]  holder     string, the holder's record
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds
-- KEYS[5]  done       string, number of the work that was done last, if it is remembered
-- KEYS[6]  members    hash, member -> its metadata, JSON
-- KEYS[7]  inflight   sorted set, member -> alive until, milliseconds; those that wait have no end
-- KEYS[8]  pending    hash, the runs that are pending until the lock is free
-- KEYS[9]  questions  string, for a minute: RELEASED once the batch has ended, see release.lua; or see force.lua
-- KEYS[10]  gone      string, for a minute: what was answered to the member; see join.lua
-- KEYS[11]  other     string, with ARGV[2]: the same, of the member that this run was
-- ARGV[1]  mark       "<the batch's token>:<member>"
-- ARGV[2]  waited     the member that this run was while it waited, or nothing
-- ARGV[3]  idle       how long the lock stays the batch's while members wait and none runs, milliseconds
-- ARGV[4]  number     of the batch, as a work that was done
-- ARGV[5]  remembered for how long, milliseconds
--
-- maxmemory  works
--
-- returns  2 the batch has ended, now or by an earlier send; 3 the same, and runs are pending;
--          1 others are in flight; 0 the lock is not the batch's (any more), -1 taken from it by force

-- fence.lua
-- force.lua
-- ending.lua

local lock, holder, members, inflight, questions, gone = KEYS[1], KEYS[2], KEYS[6], KEYS[7], KEYS[9], KEYS[10]
local token, member = string.match(ARGV[1], '^(%w+):(%w+)$')
local ended = 2 + redis.call('EXISTS', KEYS[8])

local earlier = redis.call('GET', gone)
if earlier and earlier ~= 'aside' then
    return earlier == '2' and ended or tonumber(earlier)
end

-- clock.lua
-- turn.lua

-- The answer, for whoever asks again; and no late copy may count the member once more.
local function remember(answer)
    redis.call('SET', gone, math.min(answer, 2), 'PX', '60000')
    if KEYS[11] then
        redis.call('SET', KEYS[11], math.min(answer, 2), 'PX', '60000')
    end
    return answer
end

for _, name in ipairs({member, ARGV[2]}) do
    redis.call('ZREM', inflight, name)
    redis.call('HDEL', members, name)
end

if redis.call('GET', lock) ~= token then
    local word = redis.call('GET', questions)
    return remember(word == RELEASED and ended or is_forced(word) and -1 or 0)
end

local now = server_ms()
for _, dead in ipairs(redis.call('ZRANGE', inflight, '-inf', '(' .. string.format('%.0f', now), 'BYSCORE')) do
    redis.call('ZREM', inflight, dead)
    redis.call('HDEL', members, dead)
end

local last = redis.call('ZRANGE', inflight, -1, -1, 'WITHSCORES')[2]
if last then
    local lease = tonumber(last) - now
    if last == 'inf' then
        lease = math.max(redis.call('PTTL', lock), tonumber(ARGV[3]))
    end
    lease = math.max(lease, 1)
    for _, key in ipairs({lock, members, inflight}) do
        redis.call('PEXPIRE', key, lease)
    end
    redis.call('PEXPIRE', holder, lease + RECORD_MS)
    return remember(1)
end

redis.call('DEL', lock, members, inflight)
redis.call('PEXPIRE', holder, RECORD_MS)
hand_over(lock, holder, KEYS[3], KEYS[4], now)
remember_release(questions, KEYS[5], ARGV[4], ARGV[5])
return remember(ended)
