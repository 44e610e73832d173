-- expel: has the holder, which was asked to stop for another run, had its time? Who is it?
--
-- KEYS[1]  lock     string, the token of who holds it
-- KEYS[2]  pending  hash, the pending runs of the lock
-- KEYS[3]  holder   string, "<token> <fencing token> <since, ms> <metadata>"
-- ARGV[1]  again    when the next caller may expel it, milliseconds from now
--
-- maxmemory  works
--
-- returns  {milliseconds until it has had its time (-1: nobody is asked to stop), description}; with a
--          description it is up to the caller to end it

-- clock.lua

local stop = redis.call('HGET', KEYS[2], 'stop')
local owner = redis.call('GET', KEYS[1])
if not stop then
    return {-1, ''}
end
if not owner or string.sub(stop, 1, 32) ~= string.sub(owner, 1, 32) then
    redis.call('HDEL', KEYS[2], 'stop')
    return {-1, ''}
end

local now = server_ms()
local successor, stop_at = string.match(stop, '^%S+ (%S+) (%d+)$')
if tonumber(stop_at) > now then
    return {stop_at - now, ''}
end
local value = string.sub(owner, 1, 32) .. ' ' .. successor .. ' ' .. string.format('%.0f', now + ARGV[1])
-- Changes nothing; it lets the next through at maxmemory.
redis.call('HDEL', KEYS[2], '')
redis.call('HSET', KEYS[2], 'stop', value)
local record = redis.call('GET', KEYS[3]) or ''
if string.sub(record, 1, 32) ~= string.sub(owner, 1, 32) then
    return {tonumber(ARGV[1]), ''}
end
return {tonumber(ARGV[1]), string.sub(record, 34)}
