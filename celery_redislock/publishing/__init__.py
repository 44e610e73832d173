"""Publishing: with `lock_scope`, a call that waits or runs already is not published again.

A call takes the publish lock before it is sent. What becomes of a call that meets an equal one, the policy
`lock_on_conflict` says, in the process that calls.

* ``duplicates.py`` a call is published, or meets an equal one
* ``publication.py`` one call on its way to the broker, under a publish lock
* ``expiry.py`` for how long a message may wait
"""
