"""Publish lock: under the name of a lock at most one message waits to begin.

With `lock_scope` "queue" or "task" a call takes it before it is published. The message carries a ticket: the
lock's key and the token. Whoever learns that the message has begun, or never will, frees it by the ticket.

* ``record.py`` what Redis keeps of it
* ``ticket.py`` what the message carries of it
* ``scripts/`` the Lua files: take, keep, free
"""
