"""Resource: what the locks protect; it refuses writes with a fencing token that is out of date."""

from __future__ import annotations

import redis

from .journal import KEY, written

# KEYS: the largest token seen, the journal. ARGV: token, entry if accepted, entry if refused.
_WRITE = """
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1]) or '0') then
    redis.call('RPUSH', KEYS[2], ARGV[3])
    return 0
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('RPUSH', KEYS[2], ARGV[2])
return 1
"""


class Resource:
    """Some things that must be written by one at a time, in the journal's database.

    Args:
        client: Of the journal's database.
        is_fenced: False: every writer shows the same token, so that nothing is refused.
    """

    def __init__(self, client: redis.Redis, *, is_fenced: bool) -> None:
        self._script = client.register_script(_WRITE)
        self._is_fenced = is_fenced

    def write(self, key: str, run: str, fencing_token: int) -> bool:
        """Write once; the journal is told in the same step.

        Returns:
            False when the token is smaller than one seen before: nothing was written.
        """
        shown = fencing_token if self._is_fenced else 1
        facts = {"run": run, "key": key, "fencing_token": fencing_token}
        entries = [written("wrote", accepted=accepted, **facts) for accepted in (True, False)]
        return bool(self._script(keys=[f"resource:{key}", KEY], args=[shown, *entries]))
