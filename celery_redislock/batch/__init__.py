"""Batch: a whole canvas under one lock.

A canvas has ended when none of its messages is in flight, whatever its shape. Each message is counted in
Redis before it is published, and no longer when its run has ended; the last one gives the lock back.

Its rooms:

* ``locked_batch.py``: makes a canvas a batch.
* ``signature.py``: a canvas and the terms of its lock: what is published.
* ``launch.py``: takes the lock and publishes the canvas.
* ``start.py``: the task that publishes a batch later.
* ``note.py``: what each message of a batch says of it.
* ``membership.py``: which messages belong to a batch, and how they are counted.
* ``member_run.py``: a child counts the run of a member.
* ``member_request.py``: a worker's parent counts a member that no child runs to its end.
* ``canvas.py``: copies of canvases, headers in their parts (pure).
* ``receivers.py``: what is called at which signal of Celery's.
"""
