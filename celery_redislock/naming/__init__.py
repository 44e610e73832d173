"""Naming: which calls of a task share a lock (pure).

Two calls share a lock when they are one call to the function. The name is the same in each process and
version, and shows no argument.

* ``calls.py`` a call of a task -> the name of its lock
* ``template.py`` ``lock_key="import:{path}"``
* ``canonical.py`` a value -> the text that stands for it
* ``parameters.py`` what a task's function takes, as it stood when it was declared
* ``models.py`` which parameters are models of pydantic
"""
