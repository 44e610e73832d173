"""Operations: who has which lock, and how to take it away, for people.

Its rooms:

* ``commands.py``: ``celery -A APP locks list``, ``show`` and ``release``: parse, ask Redis, print.
* ``view.py``: a lock as a row, a text or a JSON object.
"""
