-- sharers: who holds a lock together, and who comes next? Functions for the scripts of shared locks.
--
-- While a lock is shared its key holds the group mark, see group.lua. The holders are those in `sharers` (sorted set:
-- token -> end of its lease, milliseconds), and their number is the size of that set.
-- `places` (hash) has of each "<slot>/<limit> <fencing token> <since, ms> <metadata> <number of the question>". The
-- limit may be "-", any number: then the holder is not told its slot. `gaps` (sorted set) has the slots below the
-- highest that nobody has: with those of the holders they are all from 0 to the highest. A token in `sharers` without
-- a place has its turn: it was the next in line, and has a second to ask; `token .. ":turn"` has the slot that is kept
-- for it. `token .. ":kept"` is a place that was given back and counts until its min_hold is over.
-- All kinds wait in the one line of `turn.lua`. `ways` (hash) has the limit of each waiter that is to share the lock,
-- or "-" for any number; a waiter that is not in there wants the lock for itself.
-- `limit` (string) has what an operator has set for all, see limit.lua.
-- `keys` is a table: lock, holder, waiters, seen, sharers, places, gaps, ways, limit.

local function turn_of(token)
    return token .. ':turn'
end

-- It is no holder any more, and its slot is free.
local function remove(keys, token)
    if redis.call('ZREM', keys.sharers, token) == 0 then
        return
    end
    local known = redis.call('HMGET', keys.places, token, turn_of(token))
    redis.call('HDEL', keys.places, token, turn_of(token))
    local slot = string.match(known[1] or known[2] or '', '^%d+')
    if slot then
        redis.call('ZADD', keys.gaps, slot, slot)
        -- Of the last there is no end, below zero: there are no gaps any more.
        redis.call('PEXPIRE', keys.gaps, redis.call('PTTL', keys.places))
    end
end

-- Forget those whose lease, and min_hold, is over.
local function drop_expired(keys, now)
    local first = redis.call('ZRANGE', keys.sharers, 0, 0, 'WITHSCORES')
    while first[1] and tonumber(first[2]) <= now do
        remove(keys, first[1])
        first = redis.call('ZRANGE', keys.sharers, 0, 0, 'WITHSCORES')
    end
    return tonumber(first[2])
end

-- Who looks each second whether the next in line can come in: one of those that want to share the lock.
local function watches_sharers(keys, token, now)
    local watch = redis.call('HMGET', keys.seen, 'sharer', 'sharer_until')
    if watch[1] ~= token and tonumber(watch[2] or 0) > now then
        return false
    end
    redis.call('HSET', keys.seen, 'sharer', token, 'sharer_until', now + TURN_MS + GRACE_MS)
    return true
end

-- The waiter is in line no more, and is not to be woken.
local function forget_waiter(keys, token)
    redis.call('HDEL', keys.ways, token)
    forget(keys.waiters, keys.seen, token)
    if redis.call('HGET', keys.seen, 'sharer') ~= token then
        return
    end
    redis.call('HDEL', keys.seen, 'sharer', 'sharer_until')
    local last = redis.call('ZRANGE', keys.waiters, -1, -1)[1]
    if last then
        wake(keys.waiters, last)
    end
end

local function step_out(keys, token)
    redis.call('DEL', mailbox_of(keys.waiters, token))
    if redis.call('ZREM', keys.waiters, token) == 1 then
        forget_waiter(keys, token)
    end
end

-- How many an operator lets in, whatever the limit of each; nil: that is not set.
local function limit_for_all(keys)
    return string.match(redis.call('GET', keys.limit) or '', '^%d+')
end

-- Whether one more, with this limit, comes in beside those that hold the lock.
local function fits(limit, number)
    return limit == '-' or number < tonumber(limit)
end

-- It holds the lock until so many milliseconds on the server's clock. Returns its slot, the lowest that was free. If
-- fewer held the lock than its limit is, its slot is below that, whatever limits the others have.
local function enter(keys, token, ends)
    redis.call('ZADD', keys.sharers, ends, token)
    return redis.call('ZPOPMIN', keys.gaps)[1] or redis.call('ZCARD', keys.sharers) - 1
end

-- It is to come in when it asks, within a second. Its slot is kept: others with a larger limit may come in meanwhile.
local function give_turn(keys, token, now)
    local slot = enter(keys, token, now + TURN_MS)
    redis.call('HSET', keys.places, turn_of(token), slot)
end

-- The lock is free or shared: give those at the head of the line that fit their turn, and wake them. Returns false if
-- somebody who wants the lock for itself has the turn, or it is paused; else how many hold it, and whether anybody is
-- left in line.
local function admit(keys, now, number, me)
    if number == 0 and pause(keys.lock, keys.holder, keys.waiters, now) then
        return false
    elseif number > 0 and pause_left(keys.waiters, now) then
        return number, true
    end
    local head = redis.call('ZRANGE', keys.waiters, 0, 0)[1]
    local for_all = head and limit_for_all(keys)
    while head do
        local alive_until = tonumber(redis.call('HGET', keys.seen, head) or 0)
        local limit = redis.call('HGET', keys.ways, head)
        local is_alive = alive_until >= now
        if is_alive and (limit and not fits(for_all or limit, number) or not limit and number > 0) then
            return number, true
        end
        redis.call('ZREM', keys.waiters, head)
        forget_waiter(keys, head)
        if is_alive and not limit then
            local last = string.match(redis.call('GET', keys.holder) or '', '^%S+ (%d+)')
            if last then
                redis.call('SET', keys.holder, '- ' .. last, 'KEEPTTL')
            end
            redis.call('SET', keys.lock, head, 'PX', TURN_MS)
            wake(keys.waiters, head)
            return false
        elseif is_alive then
            give_turn(keys, head, now)
            number = number + 1
            if head ~= me then
                wake(keys.waiters, head)
            end
        end
        head = redis.call('ZRANGE', keys.waiters, 0, 0)[1]
    end
    if redis.call('EXISTS', keys.seen, keys.ways) > 0 then
        redis.call('DEL', keys.seen, keys.ways)
    end
    return number, false
end

-- For how long the longest of the leases lasts, milliseconds; 0 if nobody holds the lock.
local function longest_left(keys, now)
    local ends = redis.call('ZRANGE', keys.sharers, 0, 0, 'REV', 'WITHSCORES')[2]
    return ends and ends - now or 0
end

-- Have the group go on for so many milliseconds.
local function go_on(keys, left)
    redis.call('SET', keys.lock, group_mark(), 'PX', left)
    for _, key in ipairs({keys.holder, keys.sharers, keys.places, keys.gaps}) do
        redis.call('PEXPIRE', key, left + RECORD_MS)
    end
end

local function end_group(keys)
    redis.call('DEL', keys.lock, keys.sharers, keys.places, keys.gaps)
    redis.call('PEXPIRE', keys.holder, RECORD_MS)
end

-- Longer than the longest sleep of a waiter, milliseconds.
local LONGEST_SLEEP_MS = 4000

-- Somebody has left, and those whose lease is over are forgotten: let the next come in, and shorten the mark if the
-- longest lease was theirs.
local function settle(keys, now)
    local number = redis.call('ZCARD', keys.sharers)
    if number == 0 then
        end_group(keys)
    end
    local is_left
    number, is_left = admit(keys, now, number)
    if not number or number == 0 then
        return
    end
    local before, left = redis.call('PTTL', keys.lock), longest_left(keys, now)
    if left == before then
        return
    end
    go_on(keys, left)
    if is_left and left < before and left < LONGEST_SLEEP_MS then
        -- Whoever wants the lock for itself sleeps until the end that the mark had before.
        wake(keys.waiters, redis.call('ZRANGE', keys.waiters, 0, 0)[1])
    end
end

-- One of the holders has left. If it was the one of which the record tells, it tells of another from now on.
local function describe_another(keys, gone)
    local record = redis.call('GET', keys.holder) or ''
    local last, described = string.match(record, '^%S+ (%d+) .* (%d+)$')
    local longest = redis.call('ZRANGE', keys.sharers, 0, 0, 'REV')[1]
    local place = described == gone and longest and redis.call('HGET', keys.places, longest)
    if place then
        local fencing_token, rest = string.match(place, '^%S+ (%d+) (.*) %d+$')
        record = group_mark() .. ' ' .. last .. ' ' .. rest .. ' ' .. fencing_token
        redis.call('SET', keys.holder, record, 'KEEPTTL')
    end
end
