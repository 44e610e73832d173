-- claim: take what is to be done for the pending runs of a task, so that nobody else does it meanwhile.
--
-- KEYS[1]  lock       string, the token of who holds it
-- KEYS[2]  pending    hash, the pending runs of the lock
-- KEYS[3]  questions  string, for a minute: the claim was made; a late copy takes nothing more
-- ARGV[1]  task       whose runs
-- ARGV[2]  token      32 characters, of this claim
-- ARGV[3]  claim      how long the caller has for it, milliseconds
-- ARGV[4]  look       a busy lock is looked at so often, milliseconds: whoever takes it away early need not tell anybody
--
-- maxmemory  refused
--
-- returns  {milliseconds until somebody should look again (-1: nothing to look for),
--           {entry to publish ...}, {"<successor> <entry>" whose end is to be stored ...}}

-- clock.lua
-- entries.lua

local lock, pending = KEYS[1], KEYS[2]
local task, token, claim_ms, look_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- What was published is taken for lost after this, where others stand back behind it: purged, say.
local LATE_MS = 3600000
-- A line behind a published run is looked at so often, milliseconds: it is gone when that has begun.
local LINE_MS = 15000

local now = server_ms()
local left = redis.call('PTTL', lock)
local is_free = left == -2
local busy_for = (left < 0 or left > look_ms) and look_ms or left
local again, entries, ends = -1, {}, {}

local function look_in(ms)
    if again < 0 or ms < again then
        again = ms
    end
end

local function publish(entry, times)
    set_sent(pending, now + claim_ms, token, times, entry)
    entries[#entries + 1] = entry
end

local function serve_sent(field, sent)
    local state, by, times, entry = sent_parts(sent)
    if state > 0 and by == token then
        entries[#entries + 1] = entry
    elseif state > now then
        look_in(state - now)
    elseif state > 0 and is_free then
        publish(entry, times + 1)
    elseif state > 0 then
        look_in(busy_for)
    elseif (state < 0 and now + state > CLOSED_MS) or parts(entry) / 1000 < now - PUBLISHED_MS then
        redis.call('HDEL', pending, field)
    end
    return state < 0
end

local function serve_over(over)
    local claimed_until, successor, entry = string.match(over, '^(%d+) (%S+) (.*)$')
    if tonumber(claimed_until) > now then
        look_in(claimed_until - now)
    else
        supersede(pending, entry, successor, now + claim_ms)
        ends[#ends + 1] = successor .. ' ' .. entry
    end
end

local all, closed, is_under_way = redis.call('HGETALL', pending), 0, false
if redis.call('EXISTS', KEYS[3]) == 1 then
    for i = 1, #all, 2 do
        if string.find(all[i], 'sent ' .. task .. ' ', 1, true) == 1 then
            local state, by, _, entry = sent_parts(all[i + 1])
            entries[#entries + 1] = state > 0 and by == token and entry or nil
        end
    end
    return {look_ms, entries, ends}
end
redis.call('SET', KEYS[3], 'claimed', 'PX', '60000')
for i = 1, #all, 2 do
    local kind, of = string.match(all[i], '^(%S+) (%S+)')
    if of == task and kind == 'sent' then
        local is_closed = serve_sent(all[i], all[i + 1])
        closed = closed + (is_closed and 1 or 0)
        is_under_way = is_under_way or not is_closed
    elseif of == task and kind == 'over' then
        serve_over(all[i + 1])
    end
end

local next_field, late_field = 'next ' .. task, 'late ' .. task
local function is_late()
    return not is_under_way or tonumber(redis.call('HGET', pending, late_field) or now) <= now
end

local has_line = #line_of(pending, task) > 0
if has_line and redis.call('HEXISTS', pending, next_field) == 0 and is_late() then
    move_up(pending, task)
end
local entry = redis.call('HGET', pending, next_field)
if entry and is_free then
    local _, _, id = parts(entry)
    local sent = redis.call('HGET', pending, 'sent ' .. task .. ' ' .. id)
    local _, _, times = sent_parts(sent or '0 - 0 ')
    publish(entry, times + 1)
    redis.call('HDEL', pending, next_field)
    redis.call('HSET', pending, late_field, string.format('%.0f', now + LATE_MS))
elseif entry then
    look_in(busy_for)
elseif has_line then
    look_in(math.min(redis.call('HGET', pending, late_field) - now, LINE_MS))
end
if #line_of(pending, task) == 0 then
    redis.call('HDEL', pending, late_field)
elseif entry and is_free then
    look_in(LINE_MS)
end
if closed * 2 == #all then
    redis.call('PEXPIRE', pending, CLOSED_MS)
end
return {again, entries, ends}
