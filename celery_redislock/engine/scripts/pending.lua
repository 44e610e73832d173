-- pending: which runs of a lock are wanted? Functions for the scripts that change that.
--
-- They stand in `wanted` (hash). In an entry, "<met> <task> <id> <message>", the first three have no
-- space: when its trigger met the lock (microseconds of the server), task, task id. The fields:
--   "next <task>"       entry: to be published once the lock is free
--   "sent <task> <id>"  "<state> <token> <times> <entry>": published by the claim with this token. State
--                       above 0: claimed until then (milliseconds), 0: surely published, below 0: closed
--                       then, its message counts only with this token. Times: how often it was claimed.
--   "over <task> <id>"  "<until> <successor> <entry>": superseded; whoever claimed it (milliseconds)
--                       stores its end
--   "stop"              "<token> <successor> <time, ms>": the holder with this token is asked to stop, and
--                       may be ended after this time

-- What nobody asks for any more, milliseconds.
local WANTED_TTL_MS = 604800000
-- How long a message of a closed run is expected, and for how long one that was published; milliseconds.
local CLOSED_MS = 3600000
local PUBLISHED_MS = 86400000

local function parts(entry)
    local met, task, id = string.match(entry, '^(%d+) (%S+) (%S+) ')
    return tonumber(met), task, id
end

local function sent_parts(sent)
    local state, token, times, entry = string.match(sent, '^(%S+) (%S+) (%d+) (.*)$')
    return tonumber(state), token, tonumber(times), entry
end

local function set_sent(wanted, state, token, times, entry)
    local _, task, id = parts(entry)
    local value = string.format('%.0f', state) .. ' ' .. token .. ' ' .. times .. ' ' .. entry
    redis.call('HSET', wanted, 'sent ' .. task .. ' ' .. id, value)
end

-- Changes nothing. At maxmemory Redis refuses a script at its first write, if that may take memory: after
-- this one, which takes none, it lets through what keeps and ends runs that are wanted already.
local function pass_maxmemory(wanted)
    redis.call('HDEL', wanted, '')
end

-- The message with this token, or with none ("-"), is the only one that still counts.
local function close(wanted, now, token, times, entry)
    set_sent(wanted, -now, token, times, string.match(entry, '^%d+ %S+ %S+ '))
end

-- Whether a message that does not count was the only one.
local function is_spent(sent)
    local state, token, times = sent_parts(sent)
    return state < 0 and token == '-' and times == 1
end

local function supersede(wanted, entry, successor, claimed_until)
    local _, task, id = parts(entry)
    local value = string.format('%.0f', claimed_until) .. ' ' .. successor .. ' ' .. entry
    redis.call('HSET', wanted, 'over ' .. task .. ' ' .. id, value)
end

-- Let a run stand for all of its task that met the lock before it; returns their entries.
local function supersede_older(wanted, now, task, id, met, claimed_until)
    local superseded, all = {}, redis.call('HGETALL', wanted)
    for i = 1, #all, 2 do
        local kind, of = string.match(all[i], '^(%S+) (%S+)')
        local state, token, times, entry = 0, '-', 1, all[i + 1]
        if kind == 'sent' then
            state, token, times, entry = sent_parts(entry)
        end
        local entry_met, _, entry_id = parts(entry)
        if of == task and (kind == 'next' or kind == 'sent') and state >= 0 and entry_id ~= id and entry_met < met then
            supersede(wanted, entry, id, claimed_until)
            superseded[#superseded + 1] = entry
            if kind == 'sent' then
                close(wanted, now, '-', times, entry)
            else
                redis.call('HDEL', wanted, all[i])
            end
        end
    end
    return superseded
end
