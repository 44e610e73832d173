"""Config: what a user declared in a call, a task or the settings, checked and frozen.

An option has one word and four places: a call, its task, the settings, the default. The strongest wins. What
is wrong is refused when it is declared, with the valid choices. A call is looked at once: its plan, its
arguments and its Redis key are one `Call`, which is handed on.

* ``options.py`` the one table of options, policies among them
* ``lock_key.py`` one of the locks of a list
* ``sharing.py`` how many runs may hold one lock at the same time
* ``callables.py`` functions that a user gives as options
* ``settings.py`` the table of the other settings
* ``schedule.py`` what `beat_schedule` names, and how often each entry comes
* ``resolution.py`` call > task > settings > default
* ``location.py`` which Redis keeps the locks
* ``revision.py`` whether the settings have changed since they were read
* ``unknown_settings.py`` options and settings that would be ignored, and the name that was meant
* ``urls.py`` URL -> what it says (pure)
* ``client.py`` URL -> redis client
* ``celery_connection.py`` what Celery gives its own connection beside a URL, for our client too (pure)
* ``memory.py`` the Redis of ``memory://``, in this process
* ``under_test.py`` what stands in place of the settings while a test goes on
* ``masking.py`` passwords are masked where Celery masks its own settings
* ``provider.py`` the locks of one app: its client and its prefix
* ``several_locks.py`` the locks of one call that has several
* ``all_off.py`` whether any task of an app takes locks at all
* ``plan.py`` what holds for the calls of one task
* ``call.py`` one call: plan, arguments, Redis key; made once for each message
* ``call_options.py`` the lock options of one call, into its message and out of it
"""
