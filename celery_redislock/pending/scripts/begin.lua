-- begin: a run has got the lock: does its message count, and for which others does it stand?
--
-- KEYS[1]  pending    hash, the pending runs of the lock
-- KEYS[2]  questions  string, for a minute: the run has begun; a late copy does nothing
-- ARGV[1]  task       whose run
-- ARGV[2]  id         its task id
-- ARGV[3]  token      of the claim that published it; empty: it was not pending
-- ARGV[4]  keep       "latest" or "first": which of two stands for both
-- ARGV[5]  triggered  when its trigger met the lock, or got it at once, microseconds
-- ARGV[6]  claim      how long the caller has to store the ends of those it supersedes, milliseconds
--
-- maxmemory  works
--
-- returns  {"copy", 1 if this is its last message} the message does not count;
--          {"begun", entry ...} the run stands for these

-- clock.lua
-- entries.lua

local pending, task, id, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local now = server_ms()

if redis.call('EXISTS', KEYS[2]) == 1 then
    return {'begun'}
end
pass_maxmemory(pending)
local field = 'sent ' .. task .. ' ' .. id
local sent = redis.call('HGET', pending, field)
local is_pending = sent
if sent then
    local state, sent_token, times, entry = sent_parts(sent)
    if token ~= '' and sent_token ~= token then
        return {'copy', is_spent(sent) and 1 or 0}
    elseif token == '' or times > 1 then
        -- Other messages of it may still come: only this one counts, also if it is delivered again.
        close(pending, now, token == '' and '-' or token, times, entry)
    else
        redis.call('HDEL', pending, field)
    end
end

redis.call('SET', KEYS[2], 'begun', 'PX', '60000')
local entry = redis.call('HGET', pending, 'next ' .. task)
if entry then
    local _, _, next_id = parts(entry)
    if next_id == id then
        is_pending = true
        redis.call('HDEL', pending, 'next ' .. task)
    end
end
redis.call('HDEL', pending, 'back ' .. task .. ' ' .. id)

local begun, claimed_until = {}, now + tonumber(ARGV[6])
if ARGV[4] == 'latest' then
    begun = supersede_older(pending, now, task, id, tonumber(ARGV[5]), claimed_until)
elseif is_pending then
    begun = supersede_line(pending, task, id, claimed_until)
end
if #line_of(pending, task) == 0 then
    redis.call('HDEL', pending, 'late ' .. task)
end
table.insert(begun, 1, 'begun')
return begun
