"""Operations: who has which lock, and how to take it away, for people.

Rooms:
    commands: ``celery -A APP locks list``, ``show`` and ``release``: parse, ask Redis, print.
    view: A lock as a row, a text or a JSON object.
"""
