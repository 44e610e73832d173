-- clock: what time is it? The server's own, for all scripts: clocks of the machines that ask may differ.

local function server_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function server_us()
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end
