-- inspect: who holds the lock, for how long yet, and who waits; never a token.
--
-- KEYS[1]  lock     string, the token of who holds it
-- KEYS[2]  holder   string, the holder's record
-- KEYS[3]  waiters  sorted set, token -> arrival in microseconds
-- KEYS[4]  seen     hash, token -> believed alive until, milliseconds; and who it is, see turn.lua
-- KEYS[5]  sharers  sorted set, token -> end of its lease, of those who share the lock; see sharers.lua
-- KEYS[6]  places   hash, token -> slot, fencing token, since, metadata, of these
-- KEYS[7]  limit    string, what an operator has set for the lock; see limit.lua
-- ARGV[1]  mark     what the lock holds while it is shared
--
-- maxmemory  only reads
--
-- returns  {lease left in milliseconds (-1: for ever, -2: free), description, number of waiters,
--          1 if it was released and is only kept for its min_hold,
--          {arrival in microseconds, metadata, ... of the first that wait and are believed alive, in order},
--          {lease left in milliseconds, 1 if it was released and is only kept, "<slot>/<limit>", description, ...
--          of those who share it}, what an operator has set, 1 if it is paused and nobody has it}

-- clock.lua
-- turn.lua

-- A line may be long, and the server does nothing else meanwhile.
local SHOWN = 100

local now = server_ms()
local line = {}
local first = redis.call('ZRANGE', KEYS[3], 0, SHOWN - 1, 'WITHSCORES')
for place = 1, #first, 2 do
    local known = redis.call('HMGET', KEYS[4], first[place], who_of(first[place]))
    if tonumber(known[1] or 0) >= now then
        table.insert(line, first[place + 1])
        table.insert(line, known[2] or '{}')
    end
end

local owner = redis.call('GET', KEYS[1])
local sharers = {}
local known = owner == ARGV[1] and redis.call('ZRANGE', KEYS[5], 0, -1, 'WITHSCORES') or {}
for at = 1, #known, 2 do
    local place = redis.call('HGET', KEYS[6], known[at])
    local left = known[at + 1] - now
    if place and left > 0 then
        local slot, described = string.match(place, '^(%S+) (.*)$')
        table.insert(sharers, left)
        table.insert(sharers, string.sub(known[at], 33) == ':kept' and 1 or 0)
        table.insert(sharers, slot)
        table.insert(sharers, described)
    end
end
return {
    redis.call('PTTL', KEYS[1]),
    description(redis.call('GET', KEYS[2]), owner),
    redis.call('ZCARD', KEYS[3]) - (first[1] and is_pause(first[1]) and 1 or 0),
    (owner and string.sub(owner, 33) == ':kept') and 1 or 0,
    line,
    sharers,
    redis.call('GET', KEYS[7]) or '',
    owner == pause_mark() and 1 or 0,
}
