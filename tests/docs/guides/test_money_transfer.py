"""Money transfer: the page's database refuses a run whose lock was taken away, and a transfer done before."""

from __future__ import annotations

from pathlib import Path

import redis

from celery_redislock import Holder, RedisLock

from ...support.deadlines import eventually
from ...support.servers import Server
from .guide import followed

#: A run that is not told of its loss, as one that stands still; and one that has the lock after it.
SEND_SLOW = """
import json
from bank import transfer
slow = transfer.apply_async(["slow", "ann", "bob", 10, 8], lock={"on_lost": "continue"})
print(json.dumps(slow.id))
"""
SEND_QUICK = """
import json
from bank import transfer
print(json.dumps(transfer.delay("quick", "ann", "bob", 20, 0).get(timeout=30)))
"""
END_OF = """
import json
from bank import app
result = app.AsyncResult("{id}")
result.get(timeout=60, propagate=False)
print(json.dumps([result.state, type(result.result).__name__]))
"""
SEND_UNLOCKED = """
import json
from bank import transfer
unlocked = transfer.apply_async(["unlocked", "ann", "bob", 10, 0], lock={"mode": "off"})
unlocked.get(timeout=30, propagate=False)
print(json.dumps(type(unlocked.result).__name__))
"""
CREDITED_MEANWHILE = """
import json
from bank import claim, write
claim("ann", 2**53 - 1), claim("bob", 2**53 - 1)
write("there", "ann", "bob", 20, 2**53 - 1)
write("back", "bob", "ann", 30, 2**53 - 1)
print(json.dumps(True))
"""
SEND_AGAIN = """
import json
from bank import transfer
again = transfer.delay("quick", "ann", "bob", 20, 0)
again.get(timeout=30, propagate=False)
print(json.dumps(type(again.result).__name__))
"""
BALANCES = """
import json
from bank import connect
print(json.dumps(dict(connect().execute("SELECT id, balance FROM accounts").fetchall())))
"""


def test_a_run_that_lost_its_lock_moves_no_money(own_server: Server, tmp_path: Path) -> None:
    with followed("money_transfer.md", own_server, tmp_path) as reader:
        slow = reader.python(SEND_SLOW)
        with redis.Redis(port=own_server.port, db=1) as client:
            lock = RedisLock(client, "redislock:account:ann")
            eventually(lambda: id_of(lock.holder()) == slow, 30, "the slow transfer should hold the lock")
            assert lock.force_release()
        assert reader.python(SEND_QUICK) == 20
        assert reader.python(END_OF.format(id=slow)) == ["FAILURE", "Superseded"]
        assert reader.python(BALANCES) == {"ann": 20, "bob": 80}

        assert reader.python(SEND_AGAIN) == "IntegrityError"
        assert reader.python(SEND_UNLOCKED) == "Superseded"
        assert reader.python(BALANCES) == {"ann": 20, "bob": 80}

        assert reader.python(CREDITED_MEANWHILE)
        assert reader.python(BALANCES) == {"ann": 30, "bob": 70}


def id_of(holder: Holder | None) -> str | None:
    """Return the id of the transfer that has the lock."""
    return holder.metadata.get("id") if holder else None
