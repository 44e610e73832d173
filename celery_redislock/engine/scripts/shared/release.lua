-- release: give a place back, only if the caller still has it, and let the next in line come in.
--
-- KEYS[1]  lock       string, the group mark, or the token of who holds it alone
-- KEYS[2]  holder     string, the record of one holder
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds
-- KEYS[5]  questions  string, for a minute: RELEASED, LOST or OUSTED, the answer when a reply was lost
-- KEYS[6]  sharers    sorted set, token -> end of its lease, see sharers.lua
-- KEYS[7]  places     hash, token -> slot, fencing token, since, metadata
-- KEYS[8]  slots      sorted set, token -> slot
-- KEYS[9]  ways       hash, token -> limit of the waiters that are to share the lock
-- KEYS[10]  pending   hash, the runs that are pending until the lock is free
-- KEYS[11]  done          string, for the work that was done: there while it is remembered; may be missing
-- ARGV[1]  token      the caller's token
-- ARGV[2]  min_hold   the place counts until this long after it was taken, milliseconds
-- ARGV[3]  number     of the work that was done, or nothing to remember
-- ARGV[4]  kept       for how long it is remembered, milliseconds
--
-- maxmemory  works
--
-- returns  1 released, now or by an earlier send, 2 the same, nobody holds the lock, and runs are pending;
--          0 not the caller's any more, -1 taken from it by force

local keys = {
    lock = KEYS[1], holder = KEYS[2], waiters = KEYS[3], seen = KEYS[4],
    sharers = KEYS[6], places = KEYS[7], slots = KEYS[8], ways = KEYS[9],
}
local token, min_hold = ARGV[1], tonumber(ARGV[2])

-- clock.lua
-- fence.lua
-- force.lua
-- ending.lua
-- turn.lua
-- sharers.lua

-- As RELEASED: also larger than the number of any question.
local LOST = '9007199254740991'

local function answer()
    local is_next = redis.call('EXISTS', keys.lock) == 0 and redis.call('EXISTS', KEYS[10]) == 1
    return is_next and 2 or 1
end

local now = server_ms()
local is_shared = redis.call('GET', keys.lock) == group_mark()
if is_shared then
    drop_expired(keys, now)
end
local place = is_shared and redis.call('HGET', keys.places, token)
if not place then
    local earlier = redis.call('GET', KEYS[5])
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
        redis.call('SET', KEYS[5], OUSTED, 'PX', '60000')
        return -1
    end
    redis.call('SET', KEYS[5], LOST, 'PX', '60000')
    return 0
end

local fencing_token, since = string.match(place, '^%S+ (%d+) (%d+)')
local counts_until = since + min_hold
remove(keys, token)
if min_hold > 0 and counts_until > now then
    -- Under another name, so that a renewal still under way cannot prolong what was given back.
    local kept = token .. ':kept'
    redis.call('ZADD', keys.sharers, counts_until, kept)
    redis.call('HSET', keys.places, kept, place)
    local slot = string.match(place, '^%d+')
    if slot then
        redis.call('ZADD', keys.slots, slot, kept)
    end
end
settle(keys, now)
if redis.call('GET', keys.lock) == group_mark() then
    describe_another(keys, fencing_token)
end
-- Not before the place is given back: at maxmemory the first write must be one that frees.
remember_release(KEYS[5], KEYS[11], ARGV[3], ARGV[4])
return answer()
