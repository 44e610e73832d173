-- ending: what remains of a lock that was given back? A function for the scripts that give one back.
--
-- A release may be sent twice. Its answer stands in `questions` (string) for a minute, as the number up to which
-- the questions of its token are over.

-- Larger than the number of any question, so that all are over; Redis keeps a number in less space than a word.
local RELEASED = '9007199254740992'

-- For whoever asks again, and so that no late copy of a question takes the lock: none is on its way for longer.
local function remember_release(questions, done, work, work_ms)
    redis.call('SET', questions, RELEASED, 'PX', '60000')
    if work ~= '' then
        redis.call('SET', done, work, 'PX', work_ms)
    end
end
