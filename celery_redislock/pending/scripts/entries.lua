-- entries: which runs of a lock are pending? Functions for the scripts that change that.
--
-- They stand in `pending` (hash). In an entry, "<triggered> <task> <id> <until> <message>", the first four have no
-- space: when its trigger met the lock (microseconds of the server), task, task id, "expires" or "lasts". The
-- fields:
--   "next <task>"       entry: to be published once the lock is free
--   "sent <task> <id>"  "<state> <token> <times> <entry>": published by the claim with this token. State
--                       above 0: claimed until then (milliseconds), 0: surely published, below 0: closed
--                       then, its message counts only with this token. Times: how often it was claimed.
--   "back <task> <id>"  "<rank> <entry>": stands back behind another, which may still go away before it
--                       begins: then the one with the least rank runs. Ended when the other begins
--   "late <task>"       time, ms: what was published, with others behind it, is taken for lost then
--   "over <task> <id>"  "<until> <successor> <entry>": superseded; whoever claimed it (milliseconds)
--                       stores its end
--   "stop"              "<token> <successor> <time, ms>": the holder with this token is asked to stop, and
--                       may be ended after this time

-- What nobody asks for any more, milliseconds.
local PENDING_TTL_MS = 604800000
-- How long a message of a closed run is expected, and for how long one that was published; milliseconds.
local CLOSED_MS = 3600000
local PUBLISHED_MS = 86400000
-- So many stand back at most, and the first of the others that never expires.
local BACK_KEPT = 16

local function parts(entry)
    local triggered, task, id = string.match(entry, '^(%d+) (%S+) (%S+) ')
    return tonumber(triggered), task, id
end

local function sent_parts(sent)
    local state, token, times, entry = string.match(sent, '^(%S+) (%S+) (%d+) (.*)$')
    return tonumber(state), token, tonumber(times), entry
end

local function set_sent(pending, state, token, times, entry)
    local _, task, id = parts(entry)
    local value = string.format('%.0f', state) .. ' ' .. token .. ' ' .. times .. ' ' .. entry
    redis.call('HSET', pending, 'sent ' .. task .. ' ' .. id, value)
end

-- Changes nothing. At maxmemory Redis refuses a script at its first write, if that may take memory: after
-- this one, which takes none, it lets through what keeps and ends runs that are pending already.
local function pass_maxmemory(pending)
    redis.call('HDEL', pending, '')
end

-- The message with this token, or with none ("-"), is the only one that still counts.
local function close(pending, now, token, times, entry)
    set_sent(pending, -now, token, times, string.match(entry, '^%d+ %S+ %S+ '))
end

-- Whether a message that does not count was the only one.
local function is_spent(sent)
    local state, token, times = sent_parts(sent)
    return state < 0 and token == '-' and times == 1
end

local function supersede(pending, entry, successor, claimed_until)
    local _, task, id = parts(entry)
    local value = string.format('%.0f', claimed_until) .. ' ' .. successor .. ' ' .. entry
    redis.call('HSET', pending, 'over ' .. task .. ' ' .. id, value)
end

local function stand_back(pending, entry, keep)
    local triggered, task, id = parts(entry)
    local rank = keep == 'latest' and -triggered or triggered
    redis.call('HSET', pending, 'back ' .. task .. ' ' .. id, string.format('%.0f', rank) .. ' ' .. entry)
end

-- The entries of a task that stand back, the first in line first.
local function line_of(pending, task)
    local line, all = {}, redis.call('HGETALL', pending)
    for i = 1, #all, 2 do
        local kind, of = string.match(all[i], '^(%S+) (%S+)')
        if kind == 'back' and of == task then
            local rank, entry = string.match(all[i + 1], '^(%S+) (.*)$')
            line[#line + 1] = {tonumber(rank), entry, all[i]}
        end
    end
    table.sort(line, function(a, b)
        return a[1] < b[1]
    end)
    return line
end

-- Let the first in line be pending, now that nobody is before it; returns whether there is one.
local function move_up(pending, task)
    local first = line_of(pending, task)[1]
    if not first then
        return false
    end
    redis.call('HDEL', pending, first[3])
    redis.call('HSET', pending, 'next ' .. task, first[2])
    return true
end

-- Supersede those in line behind so many others that they will hardly be needed; returns their entries.
local function shorten_line(pending, task, successor, claimed_until)
    local superseded, has_lasting = {}, false
    for place, each in ipairs(line_of(pending, task)) do
        local entry = each[2]
        local lasts = not string.find(entry, '^%d+ %S+ %S+ expires ')
        if place > BACK_KEPT and (has_lasting or not lasts) then
            redis.call('HDEL', pending, each[3])
            supersede(pending, entry, successor, claimed_until)
            superseded[#superseded + 1] = entry
        end
        has_lasting = has_lasting or lasts
    end
    return superseded
end

-- Let the first that was pending stand for all in line behind it as it begins; returns their entries.
local function supersede_line(pending, task, id, claimed_until)
    local superseded = {}
    for place, each in ipairs(line_of(pending, task)) do
        redis.call('HDEL', pending, each[3])
        supersede(pending, each[2], id, claimed_until)
        superseded[place] = each[2]
    end
    return superseded
end

-- What of a task waits and has met the lock before: is told to `act` with its entry.
local function each_older(pending, now, task, id, triggered, act)
    local all = redis.call('HGETALL', pending)
    for i = 1, #all, 2 do
        local kind, of = string.match(all[i], '^(%S+) (%S+)')
        local state, token, times, entry = 0, '-', 1, all[i + 1]
        if kind == 'sent' then
            state, token, times, entry = sent_parts(entry)
        elseif kind == 'back' then
            entry = string.match(entry, '^%S+ (.*)$')
        end
        local waits = of == task and (kind == 'next' or kind == 'back' or kind == 'sent') and state >= 0
        local entry_triggered, _, entry_id = parts(entry)
        if waits and entry_id ~= id and entry_triggered < triggered then
            if kind == 'sent' then
                close(pending, now, '-', times, entry)
            else
                redis.call('HDEL', pending, all[i])
            end
            act(entry)
        end
    end
end

-- Let all of a task that met the lock before a run stand back behind it: it may still go away.
local function older_stand_back(pending, now, task, id, triggered)
    each_older(pending, now, task, id, triggered, function(entry)
        stand_back(pending, entry, 'latest')
    end)
end

-- Let a run that begins stand for all of its task that met the lock before it; returns their entries.
local function supersede_older(pending, now, task, id, triggered, claimed_until)
    local superseded = {}
    each_older(pending, now, task, id, triggered, function(entry)
        supersede(pending, entry, id, claimed_until)
        superseded[#superseded + 1] = entry
    end)
    return superseded
end
