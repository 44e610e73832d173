-- claim: may the caller send this due time of an entry? Once, if it leads and the time has come.
--
-- KEYS[1]  lock   string, the token of who leads
-- KEYS[2]  sent   hash, entry -> "<due, ms> <sent at, ms> <claim>", for what was claimed last
-- ARGV[1]  token  the caller's token
-- ARGV[2]  entry  the entry's name
-- ARGV[3]  due    milliseconds since 1970
-- ARGV[4]  claim  the mark of this one claim, made before the first send
-- ARGV[5]  ttl    how long the hash is kept after the last claim, milliseconds
--
-- maxmemory  refused
--
-- returns  {1, now in milliseconds, record} the caller's, now or since an earlier send;
--          {0, now, record} this due time, or a later one, is taken;
--          {-1, now, record} the caller does not lead (any more);
--          {-2, now, record} it is not due yet

-- clock.lua

local now = server_ms()
local record = redis.call('HGET', KEYS[2], ARGV[2]) or ''
local due, _, claim = string.match(record, '^(%d+) (%d+) (%S+)$')

if claim == ARGV[4] then
    return {1, now, record}
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return {-1, now, record}
end
if due and tonumber(due) >= tonumber(ARGV[3]) then
    return {0, now, record}
end
if tonumber(ARGV[3]) > now then
    return {-2, now, record}
end

record = ARGV[3] .. ' ' .. string.format('%.0f', now) .. ' ' .. ARGV[4]
redis.call('HSET', KEYS[2], ARGV[2], record)
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return {1, now, record}
