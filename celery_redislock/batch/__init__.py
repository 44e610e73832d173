"""Batch: a whole canvas under one lock.

A canvas has ended when none of its messages is in flight, whatever its shape. Each message is counted in
Redis before it is published, and no longer when its run has ended; the last one gives the lock back.

Rooms:
    locked_batch: Makes a canvas a batch.
    signature: A canvas and the terms of its lock: what is published.
    launch: Takes the lock and publishes the canvas.
    start: The task that publishes a batch later.
    note: What each message of a batch says of it.
    membership: Which messages belong to a batch, and how they are counted.
    member_run: A child counts the run of a member.
    member_request: A worker's parent counts a member that no child runs to its end.
    canvas: Copies of canvases, headers in their parts (pure).
    receivers: What is called at which signal of Celery's.
"""
