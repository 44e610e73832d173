-- schedule: when to look next at the pending runs of a lock, should nobody release it?
--
-- KEYS[1]  index  sorted set, name of the lock -> when to look at it, microseconds of the server
-- ARGV[1]  name   of the lock
-- ARGV[2]  after  milliseconds from now; -1: never
-- ARGV[3]  due    the time that stood there when the caller looked, and must stand there still; empty: anything
--
-- maxmemory  refused if the lock is to be looked at; works if it is not
--
-- returns  1 scheduled, 0 somebody else has scheduled a look meanwhile

-- clock.lua

local index, name, after, due = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]

local now_us = server_us()

local scheduled = redis.call('ZSCORE', index, name)
if due ~= '' and (not scheduled or tonumber(scheduled) ~= tonumber(due)) then
    return 0
end
if after < 0 then
    redis.call('ZREM', index, name)
    return 1
end
local look_at = now_us + after * 1000
if scheduled and tonumber(scheduled) == look_at then
    -- Another time than before: whoever looked at that one must see the difference.
    look_at = look_at + 1
end
redis.call('ZADD', index, string.format('%.0f', look_at), name)
redis.call('PEXPIRE', index, 604800000)
return 1
