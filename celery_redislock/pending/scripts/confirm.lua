-- confirm: a wanted run was published for certain: nobody publishes it a second time.
--
-- KEYS[1]  wanted  hash, the wanted runs of the lock
-- ARGV[1]  task    whose run
-- ARGV[2]  id      its task id
-- ARGV[3]  token   of the claim
--
-- maxmemory  works
--
-- returns  1 another run of the task is wanted by now, 0 not

-- entries.lua

local wanted = KEYS[1]
local sent = redis.call('HGET', wanted, 'sent ' .. ARGV[1] .. ' ' .. ARGV[2])
if sent then
    local state, token, times, entry = sent_parts(sent)
    if state > 0 and token == ARGV[3] then
        pass_maxmemory(wanted)
        set_sent(wanted, 0, token, times, entry)
    end
end
return redis.call('HGET', wanted, 'next ' .. ARGV[1]) and 1 or 0
