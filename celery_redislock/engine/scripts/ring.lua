-- ring: have the waiter who reads several mailboxes look up, and read those of newcomers too.
--
-- KEYS[1]  mailbox  list, his own
--
-- returns  1

-- turn.lua

redis.call('RPUSH', KEYS[1], 'look')
redis.call('PEXPIRE', KEYS[1], MAILBOX_TTL_MS)
return 1
