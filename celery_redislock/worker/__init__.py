"""Worker: what a worker's parent process does for the locks of its children.

The parent sees what a child cannot tell: that it died. It makes the token of each delivery, so that it can
give back what the child held. It also hears of messages that never reach a child.

* ``start.py`` what is checked when a worker starts
* ``control.py`` remote control: terminate a run, list the locked runs
* ``request.py`` `LockedRequest`: one delivery, seen from the parent
* ``monitored_request.py`` why a task did not run, for monitors
* ``child_deaths.py`` notices at once that a child has died
* ``orphaned_locks.py`` gives back what a dead child held
* ``scheduled_runs.py`` how long the tasks of the schedule take that have no lock
* ``marked_messages.py`` sees the runs whose messages have a header of ours, whatever their tasks are
* ``abandoned_messages.py`` gives back what came with a message whose task never took its lock
"""
