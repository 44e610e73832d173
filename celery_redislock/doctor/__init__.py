"""Doctor: what is wrong with the locks of an app, by the numbers, each with its cure.

A rule looks at one layer: what is declared, what runs now, or what has happened. It knows neither its id nor
its page: the table of rules does. To add a rule, write its function, add its row to ``rules.py``, and its
heading to ``docs/reference/doctor.md``.

* ``finding.py`` a finding: what is wrong, how bad that is, and the line that cures it
* ``rule.py`` a rule: an id, a level, and the function that looks
* ``rules.py`` the table of rules
* ``examination.py`` goes through the rules, and notes where it could not look
* ``at_start.py`` which findings a worker logs when it starts
* ``ignoring.py`` which rules a project has silenced, and why
* ``configuration.py`` what the rules of the configuration look at
* ``live.py`` what the rules of the live layer look at
* ``history.py`` what the rules of the history look at
* ``wording.py`` names and numbers as they stand in a finding
* ``delivery.py`` rules: messages that the broker delivers again, or does not
* ``lengths.py`` rules: durations that do not fit each other
* ``outcomes.py`` rules: ends of calls that nobody would learn of
* ``declarations.py`` rules: what is declared, and has no effect
* ``measured.py`` rules: durations that do not fit how long things really take
* ``schedules.py`` rules: beats beside each other, and entries that come too often
* ``intervals.py`` the next round interval that is long enough (pure)
* ``holds.py`` rules: locks that keep nothing apart, that are lost, that are held for too long
* ``purged.py`` rules: publish locks whose messages are gone
* ``queues.py`` which messages may still wait at the broker, or in a worker
* ``servers.py`` rules: whether the servers are fit to keep locks
* ``circles.py`` a rule: runs that wait for each other
* ``fleet.py`` rules: workers that do not agree with each other, or with the server
* ``workers.py`` what the workers say of themselves
"""
