-- force_release: take the lock from all who hold it together, and let the next in line have it.
--
-- KEYS[1]  lock       string, the group mark, or the token of who holds it alone
-- KEYS[2]  holder     string, the record of one holder
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds
-- KEYS[5]  questions  string, what the key of each ousted token begins with: `KEYS[5] .. ':' .. string.sub(token, 1, 16)`
-- KEYS[6]  sharers    sorted set, token -> end of its lease, see sharers.lua
-- KEYS[7]  places     hash, token -> slot, fencing token, since, metadata
-- KEYS[8]  gaps       sorted set, the free slots below the highest in use
-- KEYS[9]  ways       hash, token -> limit of the waiters that are to share the lock
-- KEYS[10]  limit     string, what an operator has set for all; see limit.lua
-- ARGV[1]  last       the last fencing token when the caller looked: a second send must not oust the next holders
--
-- maxmemory  works
--
-- returns  1 taken, 0 they do not hold it any more

local keys = {
    lock = KEYS[1], holder = KEYS[2], waiters = KEYS[3], seen = KEYS[4],
    sharers = KEYS[6], places = KEYS[7], gaps = KEYS[8], ways = KEYS[9], limit = KEYS[10],
}

-- clock.lua
-- fence.lua
-- force.lua
-- turn.lua
-- group.lua
-- sharers.lua

if redis.call('GET', keys.lock) ~= group_mark() then
    return 0
end
local now = server_ms()
local members = redis.call('ZRANGE', keys.sharers, 0, -1, 'WITHSCORES')
local ousted, is_known = {}, #members == 0
for at = 1, #members, 2 do
    local token = members[at]
    local place = redis.call('HGET', keys.places, token)
    if place then
        is_known = is_known or tonumber(string.match(place, '^%S+ (%d+)')) <= tonumber(ARGV[1])
        -- A place that was given back has nobody to tell.
        if #token == 32 then
            ousted[token] = {string.match(place, '%d+$'), math.max(tonumber(members[at + 1]) - now, 0)}
        end
    end
end
-- All who hold it have come since the caller looked.
if not is_known then
    return 0
end
redis.call('DEL', keys.lock)
for token, last in pairs(ousted) do
    local questions = KEYS[5] .. ':' .. string.sub(token, 1, 16)
    redis.call('SET', questions, last[1] .. BY_FORCE, 'PX', last[2] + RECORD_MS)
end
end_group(keys)
settle(keys, now)
return 1
