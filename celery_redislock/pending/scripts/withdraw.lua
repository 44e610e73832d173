-- withdraw: a pending run will not begin, whatever has ended it: the first that stands back is pending now.
--
-- KEYS[1]  pending  hash, the pending runs of the lock
-- ARGV[1]  task     whose run
-- ARGV[2]  id       its task id
-- ARGV[3]  token    of the claim that published the message that has ended
--
-- maxmemory  works
--
-- returns  1 another run of the task is pending, 0 not

-- clock.lua
-- entries.lua

local pending, task, id, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local now = server_ms()

local field = 'sent ' .. task .. ' ' .. id
local sent = redis.call('HGET', pending, field)
if sent then
    local state, sent_token, times, entry = sent_parts(sent)
    if state >= 0 and sent_token == token then
        pass_maxmemory(pending)
        if times > 1 then
            close(pending, now, '-', times, entry)
        else
            redis.call('HDEL', pending, field)
        end
        if redis.call('HEXISTS', pending, 'next ' .. task) == 0 then
            move_up(pending, task)
        end
    end
end
return redis.call('HEXISTS', pending, 'next ' .. task)
