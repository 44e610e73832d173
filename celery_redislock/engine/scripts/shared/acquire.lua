-- acquire: take a place beside the other holders if one is free and nobody is ahead; else say how long to sleep.
--
-- KEYS[1]  lock       string, the group mark, or the token of who holds it alone; any program may SET NX PX it
-- KEYS[2]  holder     string, "<mark> <last fencing token> <since, ms> <metadata> <fencing token>" of one holder
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds; and who it is, see turn.lua
-- KEYS[5]  questions  string, for a minute: up to which number the token's questions are over
-- KEYS[6]  sharers    sorted set, token -> end of its lease, see sharers.lua
-- KEYS[7]  places     hash, token -> slot, fencing token, since, metadata
-- KEYS[8]  slots      sorted set, token -> slot
-- KEYS[9]  ways       hash, token -> limit of the waiters that are to share the lock
-- KEYS[10]  pending   hash, the runs that are pending until the lock is free
-- ARGV[1]  token      the caller's mark, 32 characters, made before the first send
-- ARGV[2]  ttl        length of the lease, milliseconds
-- ARGV[3]  patience   longest sleep of the caller in milliseconds; 0: it does not wait (any more)
-- ARGV[4]  metadata   of the caller, for others to see while it waits and while it holds the lock, JSON
-- ARGV[5]  number     of this question: larger than that of each before with this token
-- ARGV[6]  limit      so many may hold the lock at once, or "-": any number
-- ARGV[7]  min_hold   the place counts until this long after it was taken, milliseconds
--
-- maxmemory  refused if it would take a place or stand in line; works if it has that already
--
-- returns  {1, fencing token, "", 1 if runs are pending, slot or -1} when the caller holds a place, now or since an
--          earlier send;
--          {0, milliseconds to sleep, soonest end of a lease in milliseconds (-1: for ever), description};
--          {-1} the question is over: the caller has left since, or has given the place back

local keys = {
    lock = KEYS[1], holder = KEYS[2], waiters = KEYS[3], seen = KEYS[4],
    sharers = KEYS[6], places = KEYS[7], slots = KEYS[8], ways = KEYS[9],
}
local token, ttl, number, limit = ARGV[1], tonumber(ARGV[2]), ARGV[5], ARGV[6]

-- fence.lua
-- turn.lua
-- sharers.lua

local time = redis.call('TIME')
-- A text: Lua prints large numbers without their last digits.
local now_us = time[1] .. string.sub('00000' .. time[2], -6)
local now = math.floor(now_us / 1000)

local owner = redis.call('GET', keys.lock)
local is_shared = owner == group_mark()
local over = redis.call('GET', KEYS[5])
local is_over = over and tonumber(over) >= tonumber(number)

local function until_when()
    return now + math.max(ttl, tonumber(ARGV[7]))
end

-- A place is the caller's: number the grant, and record who has it.
local function grant()
    local slot = slot_for(keys, token, limit)
    local fencing_token = next_fencing_token(keys, now_us)
    local since = string.sub(now_us, 1, -4)
    local rest = ' ' .. since .. ' ' .. ARGV[4] .. ' '
    redis.call('ZADD', keys.sharers, until_when(), token)
    local place = (slot < 0 and '-' or slot) .. ' ' .. fencing_token .. rest .. number
    redis.call('HSET', keys.places, token, place)
    redis.call('SET', keys.holder, group_mark() .. ' ' .. fencing_token .. rest .. fencing_token)
    set_mark(keys, now)
    return {1, fencing_token, '', redis.call('EXISTS', KEYS[10]), slot}
end

-- An earlier send got the place and its reply was lost: the same answer again, and a full lease.
local function confirm(place)
    local slot, rest, question = string.match(place, '^(%S+) (.*) (%d+)$')
    if tonumber(question) < tonumber(number) then
        redis.call('HSET', keys.places, token, slot .. ' ' .. rest .. ' ' .. number)
    end
    redis.call('ZADD', keys.sharers, 'GT', now + ttl, token)
    set_mark(keys, now)
    return {1, string.match(rest, '^%d+'), '', redis.call('EXISTS', KEYS[10]), tonumber(slot) or -1}
end

-- Refused: for how long to sleep, and who is in the way.
local function refuse(left, description)
    local sleep = tonumber(ARGV[3])
    if sleep == 0 then
        if redis.call('ZREM', keys.waiters, token) == 1 then
            forget_waiter(keys, token)
            redis.call('DEL', mailbox_of(keys.waiters, token))
            redis.call('SET', KEYS[5], number, 'PX', '60000')
            if is_shared then
                -- Others may have waited for the caller alone.
                settle(keys, now)
            end
        end
        return {0, 0, left, description}
    end
    if not redis.call('ZRANK', keys.waiters, token) then
        redis.call('ZADD', keys.waiters, now_us, token)
        redis.call('HSET', keys.seen, who_of(token), ARGV[4])
    end
    redis.call('PEXPIRE', keys.waiters, QUEUE_TTL_MS)
    redis.call('HSET', keys.ways, token, limit)
    redis.call('PEXPIRE', keys.ways, QUEUE_TTL_MS)
    if left >= 0 and left < sleep then
        sleep = left
    end
    if watches_sharers(keys, token, now) and TURN_MS < sleep then
        sleep = TURN_MS
    end
    redis.call('HSET', keys.seen, token, now + sleep + GRACE_MS)
    redis.call('PEXPIRE', keys.seen, QUEUE_TTL_MS)
    return {0, sleep, left, description}
end

if is_over and owner ~= token and not is_shared then
    return {-1}
end
if owner and owner ~= token and not is_shared then
    -- Somebody has it alone.
    return refuse(redis.call('PTTL', keys.lock), description(redis.call('GET', keys.holder), owner))
end

if not is_shared then
    if owner == token and is_over then
        -- A late copy: its caller stands in line with a later question, and asks again.
        return {-1}
    end
    -- What is left of another group was lost with its mark. Asked first: at maxmemory, who deletes may write.
    if redis.call('EXISTS', keys.sharers, keys.places, keys.slots) > 0 then
        redis.call('DEL', keys.sharers, keys.places, keys.slots)
    end
end

local place = is_shared and redis.call('HGET', keys.places, token)
local soonest = is_shared and drop_expired(keys, now)
if place and redis.call('ZRANK', keys.sharers, token) then
    redis.call('DEL', mailbox_of(keys.waiters, token))
    return confirm(place)
end
if is_over then
    return {-1}
end

if is_shared and not soonest then
    -- The mark is there and who holds it is not known: it ends by itself.
    return refuse(redis.call('PTTL', keys.lock), description(redis.call('GET', keys.holder), owner))
end

local count
if owner == token then
    -- Its turn has come when somebody left who had the lock alone. It opens the lock to those behind it.
    redis.call('DEL', mailbox_of(keys.waiters, token))
    redis.call('ZADD', keys.sharers, now + TURN_MS, token)
    slot_for(keys, token, limit)
    count = 1
else
    count = is_shared and redis.call('ZCARD', keys.sharers) or 0
end
local before, is_anybody_ahead = count, nil
count, is_anybody_ahead = admit(keys, now, count, token)
if not count then
    local turn = redis.call('GET', keys.lock)
    return refuse(TURN_MS, description(redis.call('GET', keys.holder), turn))
end
if redis.call('ZRANK', keys.sharers, token) then
    redis.call('DEL', mailbox_of(keys.waiters, token))
    return grant()
end
if not is_anybody_ahead and fits(limit, count) then
    return grant()
end

if count > before then
    set_mark(keys, now)
end
local first = redis.call('ZRANGE', keys.sharers, 0, 0, 'WITHSCORES')
local left = first[2] and tonumber(first[2]) - now or TURN_MS
local known = first[1] and redis.call('HGET', keys.places, first[1]) or ''
return refuse(left, string.match(known, '^%S+ (.*)$') or '')
