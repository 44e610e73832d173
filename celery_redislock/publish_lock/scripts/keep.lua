-- keep: the work was published: its publish lock lasts from now, if it is still the caller's.
--
-- KEYS[1]  reservation  string, "<token> <work>"
-- ARGV[1]  token        the caller's token
-- ARGV[2]  ttl          length of the publish lock, milliseconds
--
-- maxmemory  works
--
-- returns  1 it lasts, 0 not the caller's any more: the work has begun

if string.sub(redis.call('GET', KEYS[1]) or '', 1, 32) ~= ARGV[1] then
    return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
