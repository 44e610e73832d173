-- leave: stop waiting, or give back what was granted unseen; the next in line comes in.
--
-- KEYS[1]  lock       string, the group mark, or the token of who holds it alone
-- KEYS[2]  holder     string, the record of one holder
-- KEYS[3]  waiters    sorted set, token -> arrival in microseconds
-- KEYS[4]  seen       hash, token -> believed alive until, milliseconds
-- KEYS[5]  questions  string, for a minute: up to which number the token's questions are over
-- KEYS[6]  sharers    sorted set, token -> end of its lease, see sharers.lua
-- KEYS[7]  places     hash, token -> slot, fencing token, since, metadata
-- KEYS[8]  gaps       sorted set, the free slots below the highest in use
-- KEYS[9]  ways       hash, token -> limit of the waiters that are to share the lock
-- KEYS[10]  limit     string, what an operator has set for all; see limit.lua
-- ARGV[1]  token      the caller's token
-- ARGV[2]  number     the questions up to this one are over: what was granted to a later one stays
--
-- maxmemory  works
--
-- returns  1 the place was the caller's and was passed on, 0 it only left the line

local keys = {
    lock = KEYS[1], holder = KEYS[2], waiters = KEYS[3], seen = KEYS[4],
    sharers = KEYS[6], places = KEYS[7], gaps = KEYS[8], ways = KEYS[9], limit = KEYS[10],
}
local token, number = ARGV[1], ARGV[2]

-- clock.lua
-- fence.lua
-- turn.lua
-- group.lua
-- sharers.lua

local now = server_ms()
step_out(keys, token)

local owner = redis.call('GET', keys.lock)
local is_shared = owner == group_mark()
local over = redis.call('GET', KEYS[5])
local is_later = over and tonumber(over) > tonumber(number)
if not is_later then
    -- A late copy takes nothing: none is on its way for longer.
    redis.call('SET', KEYS[5], number, 'PX', '60000')
end

local place = is_shared and redis.call('HGET', keys.places, token)
local question = place and string.match(place, '(%d+)$')
local is_mine = not is_later and not (question and tonumber(question) > tonumber(number))
local had_it = 0
if is_mine and owner == token then
    end_group(keys)
    settle(keys, now)
    had_it = 1
elseif is_shared then
    if is_mine and redis.call('ZRANK', keys.sharers, token) then
        remove(keys, token)
        had_it = 1
    end
    drop_expired(keys, now)
    settle(keys, now)
    if place and had_it == 1 and redis.call('GET', keys.lock) == group_mark() then
        describe_another(keys, string.match(place, '^%S+ (%d+)'))
    end
end
return had_it
