-- ring: have the waiter that reads several mailboxes look up, and read those of newcomers too.
--
-- KEYS[1]  mailbox  list, of that waiter
--
-- maxmemory  works
--
-- returns  1

-- turn.lua

-- Changes nothing; it lets the next through at maxmemory.
redis.call('PEXPIRE', KEYS[1], MAILBOX_TTL_MS)
redis.call('RPUSH', KEYS[1], 'look')
redis.call('PEXPIRE', KEYS[1], MAILBOX_TTL_MS)
return 1
