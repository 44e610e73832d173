-- take: take the publish lock for a work, unless an equal one waits already, or runs.
--
-- KEYS[1]  lock         string, the token of who holds it: an equal work that runs
-- KEYS[2]  holder       string, "<token> <fencing token> <since, ms> <metadata> <number of the question>"
-- KEYS[3]  reservation  string, "<token> <work>": an equal work that waits
-- KEYS[4]  done         string, number of the work that was done last, if it is remembered
-- KEYS[5]  questions    string, for a minute: up to which number the token's questions are answered
-- ARGV[1]  token        the caller's mark, 32 characters, made before the first send
-- ARGV[2]  work         what is to wait, as the caller names it
-- ARGV[3]  ttl          length of the publish lock, milliseconds
-- ARGV[4]  again        1: the work comes again: it takes over its own publish lock
-- ARGV[5]  runs         1: a work that runs counts, 0: only one that waits does
-- ARGV[6]  exempt       a work that does not count, though it waits or runs; or nothing
-- ARGV[7]  mark         what the metadata of a holder has that runs this work
-- ARGV[8]  number       of this question: larger than that of each before with this token
-- ARGV[9]  done         number of the work
--
-- maxmemory  refused
--
-- returns  {1} when the caller has the publish lock, now or since an earlier send;
--          {0, its lease left in milliseconds (-1: for ever), the work that waits, ''} or
--          {0, lease left, '', description of the holder that runs}

-- turn.lua

local reservation, questions, token = KEYS[3], KEYS[5], ARGV[1]

local waiting = redis.call('GET', reservation)
local over = redis.call('GET', questions)
if over and tonumber(over) >= tonumber(ARGV[8]) then
    -- Sent before: it is the caller's, for as long as it has said since; or it is over, and this is a late copy.
    return {1}
end
if waiting and string.sub(waiting, 1, 32) == token then
    redis.call('SET', questions, ARGV[8], 'PX', '60000')
    return {1}
end
if waiting then
    local work = string.sub(waiting, 34)
    local is_free = work == ARGV[6] or (ARGV[4] == '1' and work == ARGV[2])
    if not is_free then
        return {0, redis.call('PTTL', reservation), string.sub(waiting, 34), ''}
    end
elseif ARGV[5] == '1' then
    local owner = redis.call('GET', KEYS[1])
    -- Nobody runs while the lock is paused: a message may wait for its end.
    if owner and owner ~= pause_mark() then
        local record = description(redis.call('GET', KEYS[2]), owner)
        -- What is only kept for its min_hold is to keep out everybody.
        local is_kept = string.sub(owner, 33) == ':kept'
        local counts = is_kept or ARGV[6] == '' or not string.find(record, ARGV[7], 1, true)
        if counts then
            return {0, redis.call('PTTL', KEYS[1]), '', record}
        end
    end
end

-- A copy of a work that was done meanwhile will be dropped: it keeps nobody from publishing.
if ARGV[4] == '1' and redis.call('GET', KEYS[4]) == ARGV[9] then
    return {1}
end

redis.call('SET', reservation, token .. ' ' .. ARGV[2], 'PX', ARGV[3])
-- A copy that comes when this has ended takes nothing: none is on its way for longer.
redis.call('SET', questions, ARGV[8], 'PX', '60000')
return {1}
