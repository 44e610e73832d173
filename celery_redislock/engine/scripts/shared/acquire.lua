-- acquire: take a place beside the other holders if one is free and nobody is ahead; else say how long to sleep.
--
-- KEYS[1]  lock       string, the group mark, or the token of who holds it alone; any program may SET NX PX it
-- KEYS[2]  holder     string, "<mark> <last fencing token> <since, ms> <metadata> <fencing token>" of one holder
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds; and who it is, see turn.lua
-- KEYS[5]  questions  string, for a minute: up to which number the token's questions are over
-- KEYS[6]  sharers    sorted set, token -> end of its lease, see sharers.lua
-- KEYS[7]  places     hash, token -> slot, fencing token, since, metadata
-- KEYS[8]  gaps       sorted set, the free slots below the highest in use
-- KEYS[9]  ways       hash, token -> limit of the waiters that are to share the lock
-- KEYS[10]  limit     string, what an operator has set for all; see limit.lua
-- KEYS[11]  pending   hash, the runs that are pending until the lock is free
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

local lock, holder, waiters, seen, questions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local sharers, places, gaps, ways, pending = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[11]
local token, number, limit = ARGV[1], ARGV[5], ARGV[6]

-- fence.lua
-- group.lua

local time = redis.call('TIME')
-- Texts: Lua prints large numbers without their last digits, and of each number it takes Redis longer to make one.
local now_us = time[1] .. string.sub('00000' .. time[2], -6)
local since = string.sub(now_us, 1, -4)
local counts_for = tonumber(ARGV[7]) > tonumber(ARGV[2]) and ARGV[7] or ARGV[2]

-- Of a grant: the slot, how long the longest of the leases lasts, and whether runs are pending.
local slot, longest, has_pending = '0', counts_for, 0

-- Usually the lock is free, nobody is in line, nothing is pending or left of another group, and the token is new. It
-- needs none of the functions below, and does not make them.
if redis.call('EXISTS', lock, waiters, questions, sharers, places, gaps, pending) > 0 then
    -- turn.lua
    -- sharers.lua

    local keys = {
        lock = lock, holder = holder, waiters = waiters, seen = seen,
        sharers = sharers, places = places, gaps = gaps, ways = ways, limit = KEYS[10],
    }
    local now = tonumber(since)
    local owner = redis.call('GET', lock)
    local is_shared = owner == group_mark()
    local over = redis.call('GET', questions)
    local is_over = over and tonumber(over) >= tonumber(number)

    -- An earlier send got the place and its reply was lost: the same answer again, and a full lease.
    local function confirm(place)
        local said, slot, of, fencing_token, question = string.match(place, '^((%d+)/(%S+) (%d+) .*) (%d+)$')
        if tonumber(question) < tonumber(number) then
            redis.call('HSET', places, token, said .. ' ' .. number)
        end
        redis.call('ZADD', sharers, 'GT', now + ARGV[2], token)
        go_on(keys, longest_left(keys, now))
        return {1, fencing_token, '', redis.call('EXISTS', pending), of == '-' and -1 or tonumber(slot)}
    end

    -- Refused: for how long to sleep, and who is in the way. What an operator has set may end before that one leaves.
    local function refuse(left, description, ends)
        local sleep = tonumber(ARGV[3])
        if sleep == 0 then
            if redis.call('ZREM', waiters, token) == 1 then
                forget_waiter(keys, token)
                redis.call('DEL', mailbox_of(waiters, token))
                redis.call('SET', questions, number, 'PX', '60000')
                if is_shared then
                    -- Others may have waited for the caller alone.
                    settle(keys, now)
                end
            end
            return {0, 0, left, description}
        end
        if not redis.call('ZRANK', waiters, token) then
            redis.call('ZADD', waiters, now_us, token)
            redis.call('HSET', keys.seen, who_of(token), ARGV[4])
        end
        keep_line(waiters, now)
        redis.call('HSET', keys.ways, token, limit)
        redis.call('PEXPIRE', keys.ways, QUEUE_TTL_MS)
        if left >= 0 and left < sleep then
            sleep = left
        end
        if ends and ends >= 0 and ends < sleep then
            sleep = ends
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
        return refuse(redis.call('PTTL', lock), description(redis.call('GET', holder), owner))
    end

    if not is_shared then
        if owner == token and is_over then
            -- A late copy: its caller stands in line with a later question, and asks again.
            return {-1}
        end
        -- What is left of another group was lost with its mark. Asked first: at maxmemory, who deletes may write.
        if redis.call('EXISTS', sharers, places, gaps) > 0 then
            redis.call('DEL', sharers, places, gaps)
        end
    end

    local place = is_shared and redis.call('HGET', places, token)
    local soonest = is_shared and drop_expired(keys, now)
    if place and redis.call('ZRANK', sharers, token) then
        redis.call('DEL', mailbox_of(waiters, token))
        return confirm(place)
    end
    if is_over then
        return {-1}
    end

    if is_shared and not soonest then
        -- The mark is there and who holds it is not known: it ends by itself.
        return refuse(redis.call('PTTL', lock), description(redis.call('GET', holder), owner))
    end

    local count
    if owner == token then
        -- Its turn has come when somebody left who had the lock alone. It opens the lock to those behind it.
        give_turn(keys, token, now)
        count = 1
    else
        count = is_shared and redis.call('ZCARD', sharers) or 0
    end
    local before, is_anybody_ahead = count, nil
    count, is_anybody_ahead = admit(keys, now, count, token)
    if not count then
        local turn = redis.call('GET', lock)
        return refuse(redis.call('PTTL', lock), description(redis.call('GET', holder), turn))
    end

    local for_all = limit_for_all(keys)
    slot = redis.call('HGET', places, turn_of(token))
    if slot then
        redis.call('DEL', mailbox_of(waiters, token))
        redis.call('HDEL', places, turn_of(token))
    elseif not is_anybody_ahead and fits(for_all or limit, count) then
        slot = enter(keys, token, now + counts_for)
    else
        if count > before then
            go_on(keys, longest_left(keys, now))
        end
        local first = redis.call('ZRANGE', sharers, 0, 0, 'WITHSCORES')
        local left = first[2] and tonumber(first[2]) - now or TURN_MS
        local known = first[1] and redis.call('HGET', places, first[1]) or ''
        return refuse(left, string.match(known, '^%S+ (.*)$') or '', for_all and redis.call('PTTL', keys.limit))
    end
    longest = math.max(counts_for, longest_left(keys, now))
    redis.call('PEXPIRE', gaps, longest + RECORD_MS)
    has_pending = redis.call('EXISTS', pending)
end

-- The caller has a place: number the grant, and record who has it.
redis.call('ZADD', sharers, since + counts_for .. '', token)
local kept = longest + RECORD_MS .. ''
local fencing_token = now_us
local rest = ' ' .. since .. ' ' .. ARGV[4] .. ' '
local record = group_mark() .. ' ' .. fencing_token .. rest .. fencing_token
local before = redis.call('SET', holder, record, 'PX', kept, 'GET')
-- The last number is in the record; the next is larger, over shared and exclusive grants alike.
local last = string.match(before or '', '^%S+ (%d+)')
if last and tonumber(last) >= tonumber(now_us) then
    fencing_token = string.format('%.0f', last + 1)
    record = group_mark() .. ' ' .. fencing_token .. rest .. fencing_token
    redis.call('SET', holder, record, 'PX', kept)
end
redis.call('HSET', places, token, slot .. '/' .. limit .. ' ' .. fencing_token .. rest .. number)
redis.call('SET', lock, group_mark(), 'PX', longest)
redis.call('PEXPIRE', sharers, kept)
redis.call('PEXPIRE', places, kept)
return {1, fencing_token, '', has_pending, limit == '-' and -1 or tonumber(slot)}
