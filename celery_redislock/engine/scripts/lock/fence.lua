-- fence: how long are the last fencing token and the last work of a lock remembered?

-- Since the lock was last taken, renewed or given back, milliseconds: an hour.
local FENCE_TTL_MS = '3600000'
