"""Locked tasks: one for each policy, and for each thing that can go wrong."""

from celery_redislock import LockedTask, current_lock, locked_task

from .app import app

done = []


@locked_task(app=app, lock_args=["path"])
def import_csv(path, chunk_size=10_000):
    """A second import of one file is skipped."""
    done.append(("import_csv", path))
    return path


@locked_task(app=app, lock_on_conflict="retry", lock_retry_delay=(0.05, 0.2))
def send_report(month):
    """A report is tried again."""
    done.append(("send_report", month))


@locked_task(app=app, lock_on_conflict="fail", lock_on_error="fail", lock_key="account:{account}")
def pay(account, amount):
    """A second payment of one account fails."""
    current_lock().ensure_locked()
    done.append(("pay", account, amount))


@locked_task(app=app, lock_on_conflict="coalesce", lock_args=["shelf"])
def count_stock(shelf, reason=""):
    """All calls that come while it runs are one more run."""
    done.append(("count_stock", shelf, reason))


@locked_task(app=app, lock_on_conflict="replace")
def draw_chart(name):
    """The newest call takes the place of the one that runs."""
    done.append(("draw_chart", name))


def only_urgent_ones_wait(task, conflict):
    """Decide what becomes of a call that met a busy lock."""
    return "retry" if task.request.kwargs.get("urgent") else "skip"


@locked_task(
    app=app, lock_on_conflict=only_urgent_ones_wait, lock_args=["address"], lock_retry_delay=(0.05, 0.2)
)
def send_mail(address, urgent=False):
    """A function decides."""
    done.append(("send_mail", address))


@locked_task(app=app, lock_wait=5)
def pack(order):
    """A call waits for the lock."""
    done.append(("pack", order))


@locked_task(app=app, lock_args=(), lock_min_hold=60)
def tick():
    """At most once a minute."""
    done.append(("tick",))


@locked_task(app=app, lock_key="api", lock_limit=2)
def fetch(url):
    """Two calls of the API at once."""
    done.append(("fetch", url))


@locked_task(app=app, lock_on_lost="abort", bind=True)
def long_import(self: LockedTask, steps):
    """Each step begins with a look at the lock."""
    for step in steps:
        self.lock.ensure_held()
        done.append(("long_import", step()))
