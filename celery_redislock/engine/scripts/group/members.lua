-- members: which members of the batch that holds the lock are in flight.
--
-- KEYS[1]  lock      string, the token of who holds it
-- KEYS[2]  members   hash, member -> its metadata, JSON; at "batch" the batch's token
-- KEYS[3]  inflight  sorted set, member -> alive until, milliseconds; those that wait have no end
--
-- maxmemory  only reads
--
-- returns  the metadata of each member; nothing when the holder is no batch

local owner = redis.call('GET', KEYS[1])
local metadata = {}
if owner and redis.call('HGET', KEYS[2], 'batch') == owner then
    for _, member in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
        table.insert(metadata, redis.call('HGET', KEYS[2], member))
    end
end
return metadata
