"""PerClient: what a process keeps once for each client, and forgets after a fork.

Two things are shared by the locks of one client: the threads that renew their leases, and the mailrooms
in which their waiters sleep. In the child of a fork neither is its own: the threads stay with the parent. Nor
are the releases that are not confirmed.
Sockets are the store's and are forgotten first, see ``transport/server.py``.
"""

from __future__ import annotations

import os
from weakref import WeakKeyDictionary, WeakValueDictionary

from .. import threads
from ..transport.store import Store
from .confirmation import confirmations
from .mailroom import Mailroom
from .renewal import Renewal
from .verbs import LockVerbs
from .watch import Watch

#: Of each store, by their pace.
_renewals: WeakKeyDictionary[Store, dict[float, Renewal]] = WeakKeyDictionary()
#: Of each store, by their lock: those that still have places, while somebody is in them.
_mailrooms: WeakKeyDictionary[Store, WeakValueDictionary[str, Mailroom]] = WeakKeyDictionary()


def renewal_of(store: Store, pace_s: float) -> Renewal:
    """Return the renewal of a store and pace, the only one in this process; leases without have pace 0."""
    paces = _renewals.setdefault(store, {})
    try:
        return paces[pace_s]
    except KeyError:
        return paces.setdefault(pace_s, Renewal(store, pace_s))


def renewed_here(store: Store) -> list[Watch]:
    """Return the leases of a store that this process renews."""
    return [watch for renewal in list(_renewals.get(store, {}).values()) for watch in renewal.renewed()]


def mailroom_with(verbs: LockVerbs, mailbox: bytes) -> Mailroom:
    """Return a mailroom of this process for a lock, with this mailbox in it."""
    rooms = _mailrooms.setdefault(verbs.store, WeakValueDictionary())
    room = rooms.get(verbs.lock_name)
    if room is None or not room.enter(mailbox):
        room = rooms[verbs.lock_name] = Mailroom(verbs)
        room.enter(mailbox)
    return room


def _after_fork() -> None:
    global _mailrooms
    threads.begin_afresh()
    confirmations.begin_afresh()
    for paces in list(_renewals.values()):
        for renewal in paces.values():
            renewal.begin_afresh()
    _mailrooms = WeakKeyDictionary()


os.register_at_fork(after_in_child=_after_fork)
