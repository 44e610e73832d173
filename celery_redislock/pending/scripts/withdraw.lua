-- withdraw: a wanted run will not begin, whatever has ended it: the first that stands back is wanted now.
--
-- KEYS[1]  wanted  hash, the wanted runs of the lock
-- ARGV[1]  task    whose run
-- ARGV[2]  id      its task id
-- ARGV[3]  token   of the claim that published the message that has ended
--
-- maxmemory  works
--
-- returns  1 another run of the task is wanted, 0 not

-- clock.lua
-- entries.lua

local wanted, task, id, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local now = server_ms()

local field = 'sent ' .. task .. ' ' .. id
local sent = redis.call('HGET', wanted, field)
if sent then
    local state, sent_token, times, entry = sent_parts(sent)
    if state >= 0 and sent_token == token then
        pass_maxmemory(wanted)
        if times > 1 then
            close(wanted, now, '-', times, entry)
        else
            redis.call('HDEL', wanted, field)
        end
        if redis.call('HEXISTS', wanted, 'next ' .. task) == 0 then
            move_up(wanted, task)
        end
    end
end
return redis.call('HEXISTS', wanted, 'next ' .. task)
