-- turn: whose turn is it? Functions for the scripts that free a lock or find a free one.
--
-- A waiter stands in `waiters` (sorted set: token -> arrival, microseconds), has a field in `seen`
-- (hash: token -> until when it is believed alive, milliseconds), another that says who it is
-- (token .. ":who" -> its metadata, JSON), and sleeps on a mailbox of its own
-- (list: `waiters` .. ":" .. token, in the same slot). A message only says "ask again": the truth
-- is in the lock, so a message that is lost or read twice does no harm.
-- One waiter, the watcher, asks every second; the others ask every few seconds. So a dead waiter that was
-- given its turn does not hold up those behind it.
-- A pause (limit.lua) stands before all waiters for as long as it lasts, whoever leaves: a member of `waiters` that
-- begins with the mark below, then since when, and what it says to those that it refuses. Its score is the time of its
-- end, negative, milliseconds. When the lock is free the pause takes it. So who asks alone finds it as it finds a holder.

-- How long a waiter has to take its turn, and the watcher to ask again; milliseconds.
local TURN_MS = 1000
-- How late a waiter may be before it counts as dead, milliseconds.
local GRACE_MS = 1000
-- Longer than the longest sleep of a waiter, so that nothing stays behind; milliseconds.
local QUEUE_TTL_MS = 60000
local MAILBOX_TTL_MS = 10000
-- A pause that lasts longer than this has no end, milliseconds.
local FOR_EVER_MS = 1000000000000000

local function mailbox_of(waiters, token)
    return waiters .. ':' .. token
end

local function who_of(token)
    return token .. ':who'
end

-- What the lock holds while it is paused and nobody has it: 32 characters, like a token.
local function pause_mark()
    return 'see:redislock.limit:it-is-paused'
end

local function is_pause(token)
    return string.sub(token, 1, 32) == pause_mark()
end

-- For how long yet the lock is paused, and by which member of the line; nil if it is not. One that is over is forgotten.
local function pause_left(waiters, now)
    local first = redis.call('ZRANGE', waiters, 0, 0, 'WITHSCORES')
    if not first[1] or not is_pause(first[1]) then
        return nil
    end
    local left = -first[2] - now
    if left > 0 then
        return left, first[1]
    end
    redis.call('ZREM', waiters, first[1])
    return nil
end

-- The line is forgotten when nobody has asked for a minute; a pause is not.
local function keep_line(waiters, now)
    if not pause_left(waiters, now) then
        redis.call('PEXPIRE', waiters, QUEUE_TTL_MS)
    end
end

local function wake(waiters, token)
    if is_pause(token) then
        return
    end
    local mailbox = mailbox_of(waiters, token)
    redis.call('RPUSH', mailbox, '1')
    redis.call('PEXPIRE', mailbox, MAILBOX_TTL_MS)
end

-- The waiter has left the line: forget it. If it was the watcher, wake the last in line, which takes over.
local function forget(waiters, seen, token)
    redis.call('HDEL', seen, token, who_of(token))
    if redis.call('HGET', seen, 'watcher') ~= token then
        return
    end
    redis.call('HDEL', seen, 'watcher', 'watch_until')
    local last = redis.call('ZRANGE', waiters, -1, -1)[1]
    if last then
        wake(waiters, last)
    end
end

-- Whether this waiter is the watcher, or becomes it. The head of the line need not watch.
local function watches(waiters, seen, token, now)
    local rank = redis.call('ZRANK', waiters, token)
    if rank == 0 or (rank == 1 and is_pause(redis.call('ZRANGE', waiters, 0, 0)[1])) then
        return false
    end
    local watch = redis.call('HMGET', seen, 'watcher', 'watch_until')
    if watch[1] ~= token and tonumber(watch[2] or 0) > now then
        local place = redis.call('ZRANK', waiters, watch[1])
        -- A watcher near the head leaves soon and would have to be replaced: take the caller, who is awake.
        if place and place * 2 >= rank then
            return false
        end
    end
    redis.call('HSET', seen, 'watcher', token, 'watch_until', now + TURN_MS + GRACE_MS)
    return true
end

-- The lock is free: if it is paused, nobody may have it. RECORD_MS is that of fence.lua.
local function pause(lock, holder, waiters, now)
    local left, member = pause_left(waiters, now)
    if not left then
        return false
    end
    local last = string.match(redis.call('GET', holder) or '', '^%S+ (%d+)') or '0'
    local record = pause_mark() .. ' ' .. last .. string.sub(member, 33) .. ' 0'
    if left > FOR_EVER_MS then
        redis.call('SET', lock, pause_mark())
        redis.call('SET', holder, record)
    else
        redis.call('SET', lock, pause_mark(), 'PX', left)
        redis.call('SET', holder, record, 'PX', left + RECORD_MS)
    end
    return true
end

-- The lock is free: give it to the first waiter that is alive, for the time that it has to take its turn.
local function hand_over(lock, holder, waiters, seen, now)
    if pause(lock, holder, waiters, now) then
        return pause_mark()
    end
    local head = redis.call('ZPOPMIN', waiters)[1]
    while head do
        local alive_until = tonumber(redis.call('HGET', seen, head) or 0)
        forget(waiters, seen, head)
        if alive_until >= now then
            -- The number alone stays: who has its turn holds nothing yet, whatever it held before.
            local last = string.match(redis.call('GET', holder) or '', '^%S+ (%d+)')
            if last then
                redis.call('SET', holder, '- ' .. last, 'KEEPTTL')
            end
            redis.call('SET', lock, head, 'PX', TURN_MS)
            wake(waiters, head)
            return head
        end
        head = redis.call('ZPOPMIN', waiters)[1]
    end
    redis.call('DEL', seen)
    return false
end

-- The holder without its token, for people: "<fencing token> <since, ms> <metadata> <number of the question>".
local function description(record, owner)
    if record and owner and string.sub(record, 1, 32) == string.sub(owner, 1, 32) then
        return string.sub(record, 34)
    end
    return ''
end
