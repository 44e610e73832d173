"""Worker: what a worker's parent process does for the locks of its children.

The parent sees what a child cannot tell: that it died, or that a message will never reach one. It makes the
token of each delivery, so that it can give back what the child held.

Its rooms:

* ``start.py``: the checks when a worker starts.
* ``control.py``: what a running worker can be told: terminate a run, show the locks.
* ``request.py``: `LockedRequest`: the token of a delivery, and the end of a run as monitors see it.
* ``deaths.py``: a child has died.
* ``orphans.py``: what a dead child held is given back.
* ``abandoned.py``: a message has ended without a run.
"""
