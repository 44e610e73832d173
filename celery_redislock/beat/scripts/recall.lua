-- recall: when each entry was sent last; what is too old is forgotten.
--
-- KEYS[1]  sent  hash, entry -> "<due, ms> <sent at, ms> <claim>"
-- ARGV[1]  kept  how long an entry is kept after it was sent, milliseconds
--
-- maxmemory  works
--
-- returns  {now in milliseconds, {entry, record, entry, record ...}}

-- clock.lua

local now = server_ms()
local all, kept = redis.call('HGETALL', KEYS[1]), {}

for i = 1, #all, 2 do
    if tonumber(string.match(all[i + 1], '^%d+ (%d+)')) < now - ARGV[1] then
        redis.call('HDEL', KEYS[1], all[i])
    else
        kept[#kept + 1] = all[i]
        kept[#kept + 1] = all[i + 1]
    end
end
return {now, kept}
