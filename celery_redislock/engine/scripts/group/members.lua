-- members: who of the batch that holds the lock is out.
--
-- KEYS[1]  lock      string, the token of who holds it
-- KEYS[2]  members   hash, member -> what it says of itself; at "batch" the batch's token
-- KEYS[3]  out       sorted set, member -> alive until, milliseconds; those that wait have no end
--
-- maxmemory  only reads
--
-- returns  what each member says of itself; nothing when the holder is no batch

local owner = redis.call('GET', KEYS[1])
local told = {}
if owner and redis.call('HGET', KEYS[2], 'batch') == owner then
    for _, member in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
        table.insert(told, redis.call('HGET', KEYS[2], member))
    end
end
return told
