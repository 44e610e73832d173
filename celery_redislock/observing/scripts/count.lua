-- count: add what a process has counted to what all processes have, once.
--
-- KEYS[1]  mark     string, for ten minutes: these numbers were added; a late copy adds nothing
-- KEYS[2]  hour     hash, field -> count
-- KEYS[3]  day      hash, field -> count, of lengths of time
-- ARGV[1]  numbers  JSON: {hour = {field = count}, day = {field = count}, latest = {field = value of the hour},
--                   locks = {{key, {lock, ...}}, ...}, conflicts = {{key, {JSON, ...}}, ...}}; each key is the
--                   number of one of the KEYS: HyperLogLog of the locks of a task, list of its last conflicts
-- ARGV[2]  kept     how long after its last change each is kept, milliseconds
-- ARGV[3]  most     how many conflicts of a task are kept
--
-- maxmemory  refused
--
-- returns  1 they are added; 0 they were added by an earlier copy

local numbers, kept_ms = cjson.decode(ARGV[1]), ARGV[2]

if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', '600000') then
    return 0
end

local function add(key, counts)
    for field, count in pairs(counts) do
        redis.call('HINCRBY', key, field, string.format('%.0f', count))
    end
    redis.call('PEXPIRE', key, kept_ms)
end

add(KEYS[2], numbers.hour)
for field, value in pairs(numbers.latest) do
    redis.call('HSET', KEYS[2], field, string.format('%.0f', value))
end
redis.call('PEXPIRE', KEYS[2], kept_ms)
add(KEYS[3], numbers.day)
for _, locks in ipairs(numbers.locks) do
    redis.call('PFADD', KEYS[locks[1]], unpack(locks[2]))
    redis.call('PEXPIRE', KEYS[locks[1]], kept_ms)
end
for _, conflicts in ipairs(numbers.conflicts) do
    redis.call('RPUSH', KEYS[conflicts[1]], unpack(conflicts[2]))
    redis.call('LTRIM', KEYS[conflicts[1]], -ARGV[3], -1)
    redis.call('PEXPIRE', KEYS[conflicts[1]], kept_ms)
end
return 1
