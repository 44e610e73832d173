"""Task: one run, from taking the lock to giving it back, however it ends.

The moments are Celery's: `before_start`, the call, `after_return`, a retry. The order is ours: the lock is
taken before the first of them and given back after the last.

* ``decorator.py`` `locked_task`
* ``locked_task.py`` `LockedTask`: Celery's moments of a task, and its calls
* ``base_class.py`` what a locked task derives from
* ``hooks.py`` what is done around the hooks of a task, whatever a subclass puts there
* ``acquisition.py`` takes the lock, or settles why not
* ``own_locks.py`` makes the locks of a task's runs
* ``run.py`` one run: its lock, its body, its end
* ``request_stack.py`` the requests of a task; a run has ended when its own is taken away
* ``interruption.py`` how a running body is made to raise
* ``held_locks.py`` which locks are held around this thread
* ``unlocked.py`` what stands for the lock where there is none
* ``early_end.py`` what ends a run before its body is raised where the body would begin
* ``resent.py`` whether a message is one that was published before, as it was
* ``map_calls.py`` map, starmap and chunks are refused
* ``direct_calls.py`` what calls a body without a run is refused, unless it calls the task as a function
* ``coroutines.py`` ``async def`` and generators are refused
* ``receivers.py`` which signals of Celery we listen to
* ``typed.py`` what a type checker is told
"""
