-- confirm: a pending run was published for certain: nobody publishes it a second time.
--
-- KEYS[1]  pending  hash, the pending runs of the lock
-- ARGV[1]  task     whose run
-- ARGV[2]  id       its task id
-- ARGV[3]  token    of the claim
--
-- maxmemory  works
--
-- returns  1 another run of the task is pending by now, 0 not

-- entries.lua

local pending = KEYS[1]
local sent = redis.call('HGET', pending, 'sent ' .. ARGV[1] .. ' ' .. ARGV[2])
if sent then
    local state, token, times, entry = sent_parts(sent)
    if state > 0 and token == ARGV[3] then
        pass_maxmemory(pending)
        set_sent(pending, 0, token, times, entry)
    end
end
return redis.call('HGET', pending, 'next ' .. ARGV[1]) and 1 or 0
