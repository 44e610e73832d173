"""What any lock promises, asked of every kind of lock on real servers: a file a noun.

A new kind of lock (asyncio, shared, several keys at once) is one `LockKind` in ``kinds.py``: a class that
makes locks as the tests ask for them, and what it can do. A new promise is a test here that takes a `Trial`,
and a row in ``test_mutants.py`` with a wrong lock that fails it.
"""
