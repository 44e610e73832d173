-- limit: an operator sets how many may hold the lock at once, lets nobody in, or leaves that to the askers again.
--
-- KEYS[1]  lock       string, the group mark, or the token of who holds it alone
-- KEYS[2]  holder     string, the record of one holder
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds; before them the pause, see turn.lua
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds
-- KEYS[5]  questions  string, for a minute: the change was made; a late copy does nothing
-- KEYS[6]  sharers    sorted set, token -> end of its lease, see sharers.lua
-- KEYS[7]  places     hash, token -> slot, fencing token, since, metadata
-- KEYS[8]  gaps       sorted set, the free slots below the highest in use
-- KEYS[9]  ways       hash, token -> limit of the waiters that are to share the lock
-- KEYS[10]  limit     string, "<number, 0: paused> <since, ms> <until, ms, or -> <metadata>", until then
-- ARGV[1]  number     so many may share the lock; 0: nobody may take it; empty: each asker's own limit counts
-- ARGV[2]  since      now, milliseconds of the server
-- ARGV[3]  until      milliseconds of the server, or "-": no end
-- ARGV[4]  metadata   who has set it and why, JSON
--
-- maxmemory  refused
--
-- returns  1

local keys = {
    lock = KEYS[1], holder = KEYS[2], waiters = KEYS[3], seen = KEYS[4],
    sharers = KEYS[6], places = KEYS[7], gaps = KEYS[8], ways = KEYS[9], limit = KEYS[10],
}
local number, since, ends, metadata = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- clock.lua
-- fence.lua
-- turn.lua
-- group.lua
-- sharers.lua

if redis.call('EXISTS', KEYS[5]) == 1 then
    return 1
end
redis.call('SET', KEYS[5], 'set', 'PX', '60000')

local now = server_ms()
local record = number .. ' ' .. since .. ' ' .. ends .. ' ' .. metadata
if number == '' then
    redis.call('DEL', keys.limit)
elseif ends == '-' then
    redis.call('SET', keys.limit, record)
else
    redis.call('SET', keys.limit, record, 'PXAT', ends)
end

local _, earlier = pause_left(keys.waiters, now)
if earlier then
    redis.call('ZREM', keys.waiters, earlier)
    redis.call('PEXPIRE', keys.waiters, QUEUE_TTL_MS)
end
if number == '0' then
    local before_all = ends == '-' and 9 * FOR_EVER_MS or tonumber(ends)
    redis.call('ZADD', keys.waiters, string.format('-%.0f', before_all), pause_mark() .. ' ' .. since .. ' ' .. metadata)
    if ends == '-' then
        redis.call('PERSIST', keys.waiters)
    else
        redis.call('PEXPIRE', keys.waiters, math.max(ends - now, 0) + QUEUE_TTL_MS)
    end
end

local owner = redis.call('GET', keys.lock)
if owner == group_mark() then
    drop_expired(keys, now)
elseif not owner or owner == pause_mark() then
    -- What is left of a group was lost with its mark.
    end_group(keys)
end
-- Who holds the lock alone keeps it. A new limit lets in as many as fit, and puts nobody out.
if not owner or owner == pause_mark() or owner == group_mark() then
    settle(keys, now)
end
return 1
