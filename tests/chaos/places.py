"""Places: how the processes of one run of chaos learn where everything is."""

from __future__ import annotations

#: Environment of a worker: the healthy Redis, the locks' Redis, and the rule that is left out.
STORE = "REDISLOCK_TEST_CHAOS_STORE"
LOCKS = "REDISLOCK_TEST_CHAOS_LOCKS"
WITHOUT = "REDISLOCK_TEST_CHAOS_WITHOUT"

#: Message header that tells one publication of a task from the next.
PUBLICATION = "chaos_publication"
