"""Publishing: with `lock_scope`, a call that waits or runs already is not published again.

A call takes the publish lock before it is sent. A call that meets an equal one follows `lock_on_conflict`,
at its caller's.

* ``duplicates.py`` a call is published, or meets an equal one
* ``publication.py`` one call on its way to the broker, under a publish lock
* ``expiry.py`` for how long a message may wait
"""
