-- release: give a place back, only if the caller still has it, and let the next in line come in.
--
-- KEYS[1]  lock       string, the group mark, or the token of who holds it alone
-- KEYS[2]  holder     string, the record of one holder
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds
-- KEYS[5]  questions  string, for a minute: RELEASED, LOST or OUSTED, the answer when a reply was lost
-- KEYS[6]  sharers    sorted set, token -> end of its lease, see sharers.lua
-- KEYS[7]  places     hash, token -> slot, fencing token, since, metadata
-- KEYS[8]  gaps       sorted set, the free slots below the highest in use
-- KEYS[9]  ways       hash, token -> limit of the waiters that are to share the lock
-- KEYS[10]  limit     string, what an operator has set for all; see limit.lua
-- KEYS[11]  pending   hash, the runs that are pending until the lock is free
-- KEYS[12]  done          string, for the work that was done: there while it is remembered; may be missing
-- ARGV[1]  token      the caller's token
-- ARGV[2]  min_hold   the place counts until this long after it was taken, milliseconds
-- ARGV[3]  number     of the work that was done, or nothing to remember
-- ARGV[4]  kept       for how long it is remembered, milliseconds
-- ARGV[5]  long       0: the record of the holder ends within two minutes as it is
--
-- maxmemory  works
--
-- returns  1 released, now or by an earlier send, 2 the same, nobody holds the lock, and runs are pending;
--          0 not the caller's any more, -1 taken from it by force

local lock, holder, waiters, seen, questions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local sharers, places, gaps, ways, pending = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[11]
local token = ARGV[1]

-- fence.lua
-- ending.lua
-- group.lua

local is_shared = redis.call('GET', lock) == group_mark()
local place = is_shared and redis.call('HGET', places, token)
local is_alone = place and redis.call('ZCARD', sharers) == 1

-- Usually nobody waits, and nothing is pending. The lease of who is alone is not over, since the mark is there. Then it
-- does not make the functions below.
if is_alone and ARGV[2] == '0' and redis.call('EXISTS', waiters, pending) == 0 then
    redis.call('DEL', lock, sharers, places, gaps)
    if ARGV[5] == '1' then
        redis.call('PEXPIRE', holder, RECORD_MS)
    end
    -- Not before the place is given back: at maxmemory the first write must be one that frees.
    remember_release(questions, KEYS[12], ARGV[3], ARGV[4])
    return 1
end

-- clock.lua
-- force.lua
-- turn.lua
-- sharers.lua

-- As RELEASED: also larger than the number of any question.
local LOST = '9007199254740991'

local keys = {
    lock = lock, holder = holder, waiters = waiters, seen = seen,
    sharers = sharers, places = places, gaps = gaps, ways = ways, limit = KEYS[10],
}

local function answer()
    local is_next = redis.call('EXISTS', lock) == 0 and redis.call('EXISTS', pending) == 1
    return is_next and 2 or 1
end

local now = server_ms()
if is_shared then
    drop_expired(keys, now)
    place = redis.call('HGET', places, token)
end
if not place then
    local earlier = redis.call('GET', questions)
    if earlier == RELEASED then
        return answer()
    end
    -- An earlier question may have arrived late, and stands in line or has its turn.
    step_out(keys, token)
    if is_shared then
        remove(keys, token)
        settle(keys, now)
    end
    if is_forced(earlier) then
        redis.call('SET', questions, OUSTED, 'PX', '60000')
        return -1
    end
    redis.call('SET', questions, LOST, 'PX', '60000')
    return 0
end

local fencing_token, since = string.match(place, '^%S+ (%d+) (%d+)')
local counts_until = since + ARGV[2]
if ARGV[2] ~= '0' and counts_until > now then
    -- Under another name, so that a renewal still under way cannot prolong what was given back.
    local kept = token .. ':kept'
    redis.call('ZREM', sharers, token)
    redis.call('ZADD', sharers, counts_until, kept)
    redis.call('HDEL', places, token)
    redis.call('HSET', places, kept, place)
else
    remove(keys, token)
end
settle(keys, now)
if redis.call('GET', lock) == group_mark() then
    describe_another(keys, fencing_token)
end
remember_release(questions, KEYS[12], ARGV[3], ARGV[4])
return answer()
