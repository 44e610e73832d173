-- note: remember when to look at the wanted runs of a lock, should nobody release it.
--
-- KEYS[1]  index  sorted set, name of the lock -> when to look at it, microseconds of the server
-- ARGV[1]  name   of the lock
-- ARGV[2]  after  milliseconds from now; -1: never
-- ARGV[3]  mark   what stood there when the caller looked, and must stand there still; empty: anything
--
-- maxmemory  refused if the lock is to be looked at; works if it is not
--
-- returns  1 noted, 0 somebody else has noted something meanwhile

local index, name, after, mark = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]

local noted = redis.call('ZSCORE', index, name)
if mark ~= '' and (not noted or tonumber(noted) ~= tonumber(mark)) then
    return 0
end
if after < 0 then
    redis.call('ZREM', index, name)
    return 1
end
local look_at = now_us + after * 1000
if noted and tonumber(noted) == look_at then
    -- Another mark than before, whoever has looked at that.
    look_at = look_at + 1
end
redis.call('ZADD', index, string.format('%.0f', look_at), name)
redis.call('PEXPIRE', index, 604800000)
return 1
