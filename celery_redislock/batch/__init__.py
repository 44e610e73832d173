"""Batch: a whole canvas under one lock, from its publication to its last result.

A canvas has ended when none of its messages is in flight, whatever its shape. Each message is counted before
it is published, and discounted when its run has ended and all that it published is counted.

* ``locked_batch.py`` `locked_batch`: makes a canvas a batch
* ``signature.py`` `LockedBatch`: the signature that is published
* ``launch.py`` takes the lock and publishes the canvas
* ``start_later.py`` the task that publishes a batch later
* ``note.py`` what each message of a batch says of it
* ``counting.py`` which messages belong to a batch, and how Redis counts them
* ``member_run.py`` a member of a batch begins and ends
* ``member_request.py`` a member of a batch, seen from the worker's parent
* ``canvas.py`` copies a canvas, writes a header into each part, lists its results (pure)
* ``receivers.py`` which signals of Celery batches listen to
"""
