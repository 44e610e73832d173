-- fence: how long is the last fencing token of a lock remembered? It stands in the record of the last holder.

-- Longer than the lease, and after the release: a minute, in milliseconds. A fencing token is the server's time, and
-- a key ends by that same clock. So the record is there as long as the clock shows less than a minute after the end
-- of the lease: the next token can be smaller only if the clock goes on for that minute, and is then set back by more.
local RECORD_MS = 60000
