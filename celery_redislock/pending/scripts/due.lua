-- due: which locks should be looked at now because runs of them may be pending, and when is the next?
--
-- KEYS[1]  index   sorted set, name of the lock -> when to look at it, microseconds of the server
-- ARGV[1]  number  of locks at most
--
-- maxmemory  only reads
--
-- returns  {milliseconds until the next one is due (-1: there is none), name, time, ...}

-- clock.lua

local now_us = server_us()

local scheduled = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
local due = {-1}
for i = 1, #scheduled, 2 do
    local look_at = tonumber(scheduled[i + 1])
    if look_at > now_us then
        due[1] = math.ceil((look_at - now_us) / 1000)
        return due
    end
    due[#due + 1] = scheduled[i]
    due[#due + 1] = string.format('%.0f', look_at)
end
return due
