"""Operations: who has which lock, and how to take it away, for people.

``celery -A APP locks ...`` parses, asks and prints.

* ``commands.py`` ``celery locks``
* ``rendering.py`` a lock as a row, a text or a JSON object
"""
