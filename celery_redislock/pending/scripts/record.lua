-- record: a task met the busy lock: record one more run of it, in place of all that met it.
--
-- KEYS[1]  lock       string, the token of who holds it
-- KEYS[2]  pending    hash, the pending runs of the lock
-- KEYS[3]  questions  string, for a minute: what was answered to this question; a late copy does nothing
-- ARGV[1]  token      of the claim that published the caller; empty: it was not pending before
-- ARGV[2]  keep       "latest" or "first": which of two stands for both
-- ARGV[3]  claim      how long the caller has to store the ends of those it supersedes, milliseconds
-- ARGV[4]  listed     1 if the caller has just listed the lock in the index
-- ARGV[5]  stop       the holder is asked to stop, and ended after so many milliseconds; -1: it is not
-- ARGV[6]  entry      the caller's, with triggered 0 if this is its first meeting
--
-- maxmemory  refused
--
-- returns  {"free"} the lock is free: try to take it; {"list"} list it first, nothing was recorded;
--          {"copy", 1 if the caller is its last message}
--          its message does not count; {"superseded", successor} another stands for the caller;
--          {"behind", other, entry ...} the caller runs if the other goes away before it begins, and the
--          other stands for these; {"pending", entry ...} the caller is pending, and stands for these

-- clock.lua
-- entries.lua

local lock, pending, questions = KEYS[1], KEYS[2], KEYS[3]
local token, entry = ARGV[1], ARGV[6]

local now_us = server_us()
local now = math.floor(now_us / 1000)

local earlier = redis.call('GET', questions)
if earlier then
    local answer, fact = string.match(earlier, '^(%S+) ?(.*)$')
    return {answer, answer == 'copy' and tonumber(fact) or fact ~= '' and fact or nil}
end

local function remember(answer, fact)
    redis.call('SET', questions, fact and answer .. ' ' .. fact or answer, 'PX', '60000')
    return {answer, fact}
end

local triggered, task, id = parts(entry)
local sent_field = 'sent ' .. task .. ' ' .. id
local sent = redis.call('HGET', pending, sent_field)
local state, sent_token, times
if sent then
    state, sent_token, times = sent_parts(sent)
end
if sent and token ~= '' and sent_token ~= token then
    return remember('copy', is_spent(sent) and 1 or 0)
end
local owner = redis.call('GET', lock)
if not owner then
    return remember('free')
end

local current = redis.call('HGET', pending, 'next ' .. task)
local current_triggered, _, current_id
if current then
    current_triggered, _, current_id = parts(current)
end
if not current and ARGV[4] == '0' then
    -- Where a run is pending already the lock is listed: nobody takes it off before that run is gone.
    return {'list'}
end
if triggered == 0 then
    triggered = math.max(now_us, (current_triggered or 0) + 1)
    entry = string.format('%.0f', triggered) .. string.sub(entry, 2)
end

if sent and times > 1 then
    close(pending, now, '-', times, entry)
elseif sent then
    redis.call('HDEL', pending, sent_field)
end

local is_newer = not current or triggered > current_triggered
local wins = current_id == id or not current or is_newer == (ARGV[2] == 'latest')
local claimed_until = now + tonumber(ARGV[3])
local back_field = 'back ' .. task .. ' ' .. id
if not wins then
    stand_back(pending, entry, ARGV[2])
    local superseded = shorten_line(pending, task, current_id, claimed_until)
    if redis.call('HEXISTS', pending, back_field) == 0 then
        -- The caller itself, which stores its own end. Others were superseded when they came.
        redis.call('HDEL', pending, 'over ' .. task .. ' ' .. id)
        return remember('superseded', current_id)
    end
    remember('behind', current_id)
    table.insert(superseded, 1, current_id)
    table.insert(superseded, 1, 'behind')
    return superseded
end

-- First: on a full server it is refused, and nothing was done.
remember('pending')
redis.call('HDEL', pending, back_field)
if ARGV[2] == 'latest' then
    older_stand_back(pending, now, task, id, triggered)
elseif current and current_id ~= id then
    stand_back(pending, current, ARGV[2])
end
redis.call('HSET', pending, 'next ' .. task, entry)
local stop_after = tonumber(ARGV[5])
if stop_after >= 0 then
    local stop = redis.call('HGET', pending, 'stop') or ''
    local mark, _, stop_at = string.match(stop, '^(%S+) (%S+) (%d+)$')
    owner = string.sub(owner, 1, 32)
    stop_at = mark == owner and stop_at or string.format('%.0f', now + stop_after)
    redis.call('HSET', pending, 'stop', owner .. ' ' .. id .. ' ' .. stop_at)
end
redis.call('PEXPIRE', pending, PENDING_TTL_MS)
local superseded = shorten_line(pending, task, id, claimed_until)
table.insert(superseded, 1, 'pending')
return superseded
