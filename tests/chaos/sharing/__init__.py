"""Shared locks under chaos: threads of processes that are killed and stopped take places, and a judge counts.

``python -m tests.chaos.sharing --seconds 1200`` makes about a million grants on two cores.

* ``ground.py`` the locks, and who asks for them
* ``ledger.py`` what each process writes down of its grants, so that a kill takes nothing away
* ``contender.py`` one process: threads that take places and give them back
* ``trouble.py`` what befalls the processes, their connections and the limits of the locks
* ``verdict.py`` reads the ledgers: who believed in what at the same time?
"""
