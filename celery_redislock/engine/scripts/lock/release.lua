-- release: give the lock back, only if the caller still holds it, and let the next waiter have it.
--
-- KEYS[1]  lock         string, the token of who holds it
-- KEYS[2]  holder       string, "<token> <fencing token> <since, ms> <metadata> <number of the question>"
-- KEYS[3]  waiters      sorted set, token -> arrival in microseconds
-- KEYS[4]  seen         hash, token -> believed alive until, milliseconds
-- KEYS[5]  done         string, number of the work that was done last, if it is remembered
-- KEYS[6]  pending      hash, the runs that are pending until the lock is free
-- KEYS[7]  questions    string, for a minute: RELEASED, LOST or OUSTED, the answer when a reply was lost; see acquire.lua
-- KEYS[8]  reservation  string, "<token> <work>", may be missing: the publish lock of a copy of the work, if any
-- ARGV[1]  token        the caller's token
-- ARGV[2]  min_hold     the lock stays busy until this long after it was taken, milliseconds
-- ARGV[3]  work         that was done under this lock, or nothing to remember
-- ARGV[4]  number       of the work
-- ARGV[5]  remembered   for how long, milliseconds
-- ARGV[6]  long         0: the record of the holder ends within two minutes as it is
--
-- maxmemory  works
--
-- returns  1 released, now or by an earlier send, 2 the same, and runs are pending; 0 not the caller's any more,
--          -1 taken from it by force

local lock, holder, waiters, seen, pending, questions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6], KEYS[7]
local token = ARGV[1]

-- fence.lua
-- force.lua
-- ending.lua

-- As RELEASED: also larger than the number of any question.
local LOST = '9007199254740991'
-- Usually there is neither.
local is_quiet = redis.call('EXISTS', waiters, pending) == 0
local answer = is_quiet and 1 or 1 + redis.call('EXISTS', pending)

local is_mine = redis.call('GET', lock) == token
local earlier = not is_mine and redis.call('GET', questions)
if earlier == RELEASED then
    return answer
end

-- A copy that waits while the work is done will be dropped: it keeps nobody from publishing.
if KEYS[8] and ARGV[3] ~= '' and string.sub(redis.call('GET', KEYS[8]) or '', 34) == ARGV[3] then
    redis.call('DEL', KEYS[8])
end

-- Then it does not make the functions of the line.
if is_mine and is_quiet and ARGV[2] == '0' then
    redis.call('DEL', lock)
    if ARGV[6] == '1' then
        redis.call('PEXPIRE', holder, RECORD_MS)
    end
else
    -- clock.lua
    -- turn.lua

    if not is_mine then
        -- An earlier question may have arrived late, and stands in line.
        redis.call('DEL', mailbox_of(waiters, token))
        if redis.call('ZREM', waiters, token) == 1 then
            forget(waiters, seen, token)
        end
        if is_forced(earlier) then
            redis.call('SET', questions, OUSTED, 'PX', '60000')
            return -1
        end
        redis.call('SET', questions, LOST, 'PX', '60000')
        return 0
    end

    local now = server_ms()
    local left = 0
    if ARGV[2] ~= '0' then
        left = (string.match(redis.call('GET', holder) or '', '^%S+ %d+ (%d+)') or now) + ARGV[2] - now
    end
    if left > 0 then
        -- Another value, so that a renewal still under way cannot prolong what was given back.
        redis.call('PEXPIRE', holder, left + RECORD_MS)
        redis.call('SET', lock, token .. ':kept', 'PX', left)
        local head = redis.call('ZRANGE', waiters, 0, 0)[1]
        if head then
            wake(waiters, head)
        end
    else
        redis.call('DEL', lock)
        redis.call('PEXPIRE', holder, RECORD_MS)
        hand_over(lock, holder, waiters, seen, now)
    end
end

-- Not before the lock is given back: at maxmemory the first write must be one that frees.
remember_release(questions, KEYS[5], ARGV[4], ARGV[5])
return answer
