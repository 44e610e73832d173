-- acquire: take the lock if it is free and no other waiter's turn; else say how long to sleep.
--
-- KEYS[1]  lock         string, the token of who holds it; any program may SET NX PX it
-- KEYS[2]  holder       string, "<token> <fencing token> <since, ms> <metadata> <number of the question>"
-- KEYS[3]  done         string, number of the work that was done last, if it is remembered
-- KEYS[4]  waiters      sorted set, token -> arrival in microseconds
-- KEYS[5]  seen         hash, token -> believed alive until, milliseconds; and who it is, see turn.lua
-- KEYS[6]  pending      hash, the runs that are pending until the lock is free
-- KEYS[7]  questions    string, for a minute: up to which number the token's questions are over
-- KEYS[8]  reservation  string, "<token> <work>", may be missing: the publish lock, which the grant ends
-- KEYS[9]  publication  string, with KEYS[8], for a minute: as KEYS[7], of the publication
-- ARGV[1]  token        the caller's mark, 32 characters, made before the first send
-- ARGV[2]  ttl          length of the lease, milliseconds
-- ARGV[3]  patience     longest sleep of the caller in milliseconds; 0: it does not wait (any more)
-- ARGV[4]  metadata     of the caller, for others to see while it waits and while it holds the lock, JSON
-- ARGV[5]  number       of this question: larger than that of each before with this token
-- ARGV[6]  waited       token of the publish lock, with KEYS[8]
--
-- maxmemory  refused if it would take the lock or a place in line; works if it has that already
--
-- returns  {1, fencing token, number of the work that was done last, 1 if runs are pending} when the caller holds
--          the lock, now or since an earlier send;
--          {0, milliseconds to sleep, lease left in milliseconds (-1: for ever), description};
--          {-1} the question is over: the caller has left since, or has given the lock back

local lock, holder, done, waiters, seen, pending = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local questions, token, ttl, number = KEYS[7], ARGV[1], ARGV[2], ARGV[5]

local time = redis.call('TIME')
-- A text: Lua prints large numbers without their last digits, and the format that keeps them is slow.
local now_us = time[1] .. string.sub('00000' .. time[2], -6)

-- fence.lua

local there = redis.call('EXISTS', lock, waiters, pending, questions, done)
local last_done = there > 0 and redis.call('GET', done) or ''

-- The lock is the caller's: number the grant, and record who holds it.
local function grant(has_pending)
    if KEYS[8] then
        if string.sub(redis.call('GET', KEYS[8]) or '', 1, 32) == ARGV[6] then
            redis.call('DEL', KEYS[8])
        end
        redis.call('SET', KEYS[9], '9007199254740992', 'PX', '60000')
    end
    -- Milliseconds would go backwards above 1,000 grants a second.
    local fencing_token = now_us
    local rest = ' ' .. string.sub(now_us, 1, -4) .. ' ' .. ARGV[4] .. ' ' .. number
    local before = redis.call('SET', holder, token .. ' ' .. fencing_token .. rest, 'PX', ttl + RECORD_MS, 'GET')
    local last = string.match(before or '', '^%S+ (%d+)')
    if last and tonumber(last) >= tonumber(now_us) then
        fencing_token = string.format('%.0f', last + 1)
        redis.call('SET', holder, token .. ' ' .. fencing_token .. rest, 'PX', ttl + RECORD_MS)
    end
    return {1, fencing_token, last_done, has_pending}
end

-- The usual case: the lock is free, nobody is in line, nothing is pending, and the token is new. It needs none of the
-- functions below, and does not make them.
if there == 0 or (there == 1 and last_done ~= '') then
    redis.call('SET', lock, token, 'PX', ttl)
    return grant(0)
end

-- The caller's turn has come; or an earlier send got the lock and its reply was lost: then the same answer again.
-- Nobody has to wake the caller any more (mailbox: waiters .. ":" .. token, see turn.lua).
local function confirm(is_over)
    local has_pending = redis.call('EXISTS', pending)
    local record = redis.call('GET', holder) or ''
    local holding, fencing_token = string.match(record, '^(%S+) (%d+)')
    if holding ~= token and is_over then
        -- A late copy: its caller stands in line with a later question, and asks again.
        return {-1}
    end
    redis.call('DEL', waiters .. ':' .. token)
    if holding ~= token then
        redis.call('PEXPIRE', lock, ttl)
        return grant(has_pending)
    end
    local described, question = string.match(record, '^(.*) (%d+)$')
    if described and tonumber(question) < tonumber(number) then
        redis.call('SET', holder, described .. ' ' .. number, 'KEEPTTL')
    end
    -- Never shorter: a batch has a longer lease by now, and this may be a late copy.
    if redis.call('PTTL', lock) < tonumber(ttl) then
        redis.call('PEXPIRE', lock, ttl)
        redis.call('PEXPIRE', holder, ttl + RECORD_MS)
    end
    return {1, fencing_token, last_done, has_pending}
end

local owner = redis.call('GET', lock)
local over = redis.call('GET', questions)
local is_over = over and tonumber(over) >= tonumber(number)
if owner == token then
    return confirm(is_over)
end
if is_over then
    return {-1}
end

-- turn.lua

local now = math.floor(now_us / 1000)

if not owner and redis.call('EXISTS', waiters) == 1 then
    owner = hand_over(lock, holder, waiters, seen, now)
    if owner == token then
        return confirm(false)
    end
end

if not owner then
    redis.call('SET', lock, token, 'PX', ttl)
    return grant(redis.call('EXISTS', pending))
end

local left = redis.call('PTTL', lock)
local record = description(redis.call('GET', holder), owner)
local sleep = tonumber(ARGV[3])
if sleep == 0 then
    if redis.call('ZREM', waiters, token) == 1 then
        forget(waiters, seen, token)
        redis.call('DEL', mailbox_of(waiters, token))
        redis.call('SET', questions, number, 'PX', '60000')
    end
    return {0, 0, left, record}
end

if not redis.call('ZRANK', waiters, token) then
    redis.call('ZADD', waiters, now_us, token)
    redis.call('HSET', seen, who_of(token), ARGV[4])
end
keep_line(waiters, now)
if left >= 0 and left < sleep then
    sleep = left
end
if watches(waiters, seen, token, now) and TURN_MS < sleep then
    sleep = TURN_MS
end
redis.call('HSET', seen, token, now + sleep + GRACE_MS)
redis.call('PEXPIRE', seen, QUEUE_TTL_MS)
return {0, sleep, left, record}
