"""Lease: what this process believes of a lock that it asked for, waits for, holds or has lost.

A grant is counted from before it was asked for: so this process never believes longer in it than Redis keeps
it. A lease is renewed every third of its length, and is lost when its count ends without an answer. Whoever
waits stands in line in Redis, and sleeps until it is woken.

* ``terms.py`` the durations of a lock, checked, in milliseconds
* ``lease.py`` what one grant gave and for how long it can be believed (pure)
* ``loss.py`` why a lease is lost, as a word and as a text (pure)
* ``holding.py`` what one lock object holds, and whom to tell when it is lost
* ``verbs.py`` sends a question about one lock, and translates what goes wrong
* ``shared_verbs.py`` the same, for a lock that several hold at once
* ``waiting.py`` one attempt to get a lock, from the first question to grant, refusal or leave
* ``mailroom.py`` waiters of one process that sleep on one connection
* ``watch.py`` one lease that is renewed or only watched
* ``renewal.py`` the threads that renew leases in time and report the lost
* ``confirmation.py`` what becomes of a release whose reply was not waited for
* ``per_client.py`` what a process keeps once for each client, and forgets after a fork
* ``setup.py`` what all locks on the same terms have in common, made once for them
"""
