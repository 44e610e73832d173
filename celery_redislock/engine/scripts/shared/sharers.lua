-- sharers: who holds a lock together, and who comes next? Functions for the scripts of shared locks.
--
-- While a lock is shared its key holds the group mark, which ends with the longest of the leases. The holders are
-- those in `sharers` (sorted set: token -> end of its lease, milliseconds), and their number is the size of that set.
-- `places` (hash) has of each "<slot, or -> <fencing token> <since, ms> <metadata> <number of the question>".
-- `slots` (sorted set) has the slot of each that has one. A token in `sharers` without a place has its turn: it was
-- the next in line, and has a second to ask. `token .. ":kept"` is a place that was given back and counts until its
-- min_hold is over.
-- All kinds wait in the one line of `turn.lua`. `ways` (hash) has the limit of each waiter that is to share the lock,
-- or "-" for any number; a waiter that is not in there wants the lock for itself.
-- `keys` is a table: lock, holder, waiters, seen, sharers, places, slots, ways.

-- 32 characters, like a token: so each script of the exclusive lock finds a description in the holder's record.
local function group_mark()
    return 'see:redislock.sharers:and:places'
end

local function remove(keys, token)
    redis.call('ZREM', keys.sharers, token)
    redis.call('ZREM', keys.slots, token)
    redis.call('HDEL', keys.places, token)
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

-- Whether one more, with this limit, comes in beside those that hold the lock.
local function fits(limit, number)
    return limit == '-' or number < tonumber(limit)
end

-- The lowest number that no holder has: as many lie below it as there are holders with lower ones.
local function lowest_slot(keys)
    local low, high = 0, redis.call('ZCARD', keys.slots)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if tonumber(redis.call('ZRANGE', keys.slots, middle, middle, 'WITHSCORES')[2]) > middle then
            high = middle
        else
            low = middle + 1
        end
    end
    return low
end

-- Keep a slot for one that is to hold the lock, and return it; -1 if it has no limit. Who has its turn keeps one
-- before it asks: others with a larger limit may come in meanwhile.
local function slot_for(keys, token, limit)
    if limit == '-' then
        return -1
    end
    local kept = redis.call('ZSCORE', keys.slots, token)
    if kept then
        return tonumber(kept)
    end
    local slot = lowest_slot(keys)
    redis.call('ZADD', keys.slots, slot, token)
    return slot
end

-- The lock is free or shared: give those at the head of the line that fit their turn, and wake them. Returns false if
-- somebody who wants the lock for itself has the turn, else how many hold it, and whether anybody is left in line.
local function admit(keys, now, number, me)
    local head = redis.call('ZRANGE', keys.waiters, 0, 0)[1]
    while head do
        local alive_until = tonumber(redis.call('HGET', keys.seen, head) or 0)
        local limit = redis.call('HGET', keys.ways, head)
        local is_alive = alive_until >= now
        if is_alive and (limit and not fits(limit, number) or not limit and number > 0) then
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
            redis.call('ZADD', keys.sharers, now + TURN_MS, head)
            slot_for(keys, head, limit)
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

-- Have the mark end with the longest of the leases.
local function set_mark(keys, now)
    local left = tonumber(redis.call('ZRANGE', keys.sharers, 0, 0, 'REV', 'WITHSCORES')[2]) - now
    redis.call('SET', keys.lock, group_mark(), 'PX', left)
    redis.call('PEXPIRE', keys.holder, left + RECORD_MS)
    redis.call('PEXPIRE', keys.sharers, left + RECORD_MS)
    redis.call('PEXPIRE', keys.places, left + RECORD_MS)
    redis.call('PEXPIRE', keys.slots, left + RECORD_MS)
    return left
end

local function end_group(keys)
    redis.call('DEL', keys.lock, keys.sharers, keys.places, keys.slots)
    redis.call('PEXPIRE', keys.holder, RECORD_MS)
end

-- Longer than the longest sleep of a waiter, milliseconds.
local LONGEST_SLEEP_MS = 4000

-- Somebody has left: let the next come in, and shorten the mark if the longest lease was theirs.
local function settle(keys, now)
    drop_expired(keys, now)
    local number = redis.call('ZCARD', keys.sharers)
    if number == 0 then
        end_group(keys)
    end
    local is_left
    number, is_left = admit(keys, now, number)
    if not number or number == 0 then
        return
    end
    local before = redis.call('PTTL', keys.lock)
    local left = set_mark(keys, now)
    if is_left and left < before and left < LONGEST_SLEEP_MS then
        -- Whoever wants the lock for itself sleeps until the end that the mark had before.
        wake(keys.waiters, redis.call('ZRANGE', keys.waiters, 0, 0)[1])
    end
end

-- The last fencing token is in the record; the next is larger, over shared and exclusive grants alike.
local function next_fencing_token(keys, now_us)
    local last = string.match(redis.call('GET', keys.holder) or '', '^%S+ (%d+)')
    if last and tonumber(last) >= tonumber(now_us) then
        return string.format('%.0f', last + 1)
    end
    return now_us
end

-- One of the holders has left. If it was the one of which the record tells, it tells of another from now on.
local function describe_another(keys, gone)
    local record = redis.call('GET', keys.holder) or ''
    local last, described = string.match(record, '^%S+ (%d+) .* (%d+)$')
    local longest = redis.call('ZRANGE', keys.sharers, 0, 0, 'REV')[1]
    local place = described == gone and longest and redis.call('HGET', keys.places, longest)
    if place then
        local fencing_token, rest = string.match(place, '^%S+ (%d+) (.*) %d+$')
        local text = group_mark() .. ' ' .. last .. ' ' .. rest .. ' ' .. fencing_token
        redis.call('SET', keys.holder, text, 'KEEPTTL')
    end
end
