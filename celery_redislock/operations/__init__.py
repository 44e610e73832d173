"""Operations: who has which lock, how to take it away, and what is wrong, for people.

``celery -A APP locks ...`` parses, asks and prints.

* ``commands.py`` ``celery locks``
* ``rendering.py`` a lock as a row, a text or a JSON object
* ``findings.py`` what the doctor has found, as a text or a JSON object
* ``spans.py`` lengths of time on a command line: 30m, 12h, 7d
"""
