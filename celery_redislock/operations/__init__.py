"""Operations: who has which lock, how to take it away, and what is wrong, for people.

``celery -A APP locks ...`` parses, asks and prints.

* ``commands.py`` ``celery locks``
* ``exporter.py`` what Redis knows of all locks, for Prometheus and OpenTelemetry
* ``diagnosis.py`` what the doctor has found, as a text or a JSON object
* ``periods.py`` lengths of time on a command line: 30m, 12h, 7d
* ``rendering.py`` a lock as a row of a table, a text or a JSON object
* ``table.py`` rows of text in columns that fit the terminal
* ``formats.py`` how wide a text is, how it is cut, how durations are written
* ``usual.py`` what the statistics and the task's options say of a lock that is held
"""
