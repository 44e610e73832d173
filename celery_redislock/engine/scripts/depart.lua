-- depart: a member of a batch has ended; with the last one the batch has, and gives the lock back.
--
-- KEYS[1]  lock      string, the token of who holds it: here the batch's
-- KEYS[2]  holder    string, the holder's record, lives as long as the lock
-- KEYS[3]  waiters   sorted set, token -> arrival in microseconds
-- KEYS[4]  seen      hash, token -> believed alive until, milliseconds
-- KEYS[5]  released  list, the tokens released last: the answer when a reply was lost
-- KEYS[6]  fence     string, "<last fencing token> <the work that was done last>"
-- KEYS[7]  members   hash, member -> what it says of itself
-- KEYS[8]  out       sorted set, member -> alive until, milliseconds; those that wait have no end
-- KEYS[9]  wanted    hash, the runs that are wanted once the lock is free
-- ARGV[1]  mark      "<the batch's token>:<member>"
-- ARGV[2]  waited    the member that this run was while it waited, or nothing
-- ARGV[3]  idle      how long the lock stays the batch's while members wait and none runs, milliseconds
-- ARGV[4]  done      the batch, for the next holder to know
--
-- maxmemory  works
--
-- returns  2 the batch has ended, now or by an earlier send; 3 the same, and runs are wanted;
--          1 others are out; 0 the lock is not the batch's (any more)

local lock, holder, members, out = KEYS[1], KEYS[2], KEYS[7], KEYS[8]
local token, member = string.match(ARGV[1], '^(%w+):(%w+)$')
local ended = 2 + redis.call('EXISTS', KEYS[9])

if redis.call('GET', lock) ~= token then
    return redis.call('LPOS', KEYS[5], token) and ended or 0
end

-- turn.lua

local now = server_ms()
for _, gone in ipairs({member, ARGV[2]}) do
    redis.call('ZREM', out, gone)
    redis.call('HDEL', members, gone)
end
for _, dead in ipairs(redis.call('ZRANGE', out, '-inf', '(' .. string.format('%.0f', now), 'BYSCORE')) do
    redis.call('ZREM', out, dead)
    redis.call('HDEL', members, dead)
end

local last = redis.call('ZRANGE', out, -1, -1, 'WITHSCORES')[2]
if last then
    local lease = tonumber(last) - now
    if last == 'inf' then
        lease = math.max(redis.call('PTTL', lock), tonumber(ARGV[3]))
    end
    for _, key in ipairs({lock, holder, members, out}) do
        redis.call('PEXPIRE', key, math.max(lease, 1))
    end
    return 1
end

redis.call('LPUSH', KEYS[5], token)
redis.call('LTRIM', KEYS[5], 0, 255)
redis.call('PEXPIRE', KEYS[5], 60000)
local number = string.match(redis.call('GET', KEYS[6]) or '0', '^%d+')
redis.call('SET', KEYS[6], number .. ' ' .. ARGV[4], 'PX', 3600000)
redis.call('DEL', lock, holder, members, out)
hand_over(lock, holder, KEYS[3], KEYS[4], now)
return ended
