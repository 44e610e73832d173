"""Observing: what people and their tools see of locks; it listens to events, and never touches a run.

Each destination is one file: it is given each event, in the thread that tells it. What takes time, or may
block, it leaves to the thread in the background.

* ``receivers.py`` what is heard of events, and of Celery's signals
* ``destinations.py`` which destinations an app has, made once in each process
* ``background.py`` a thread for what must not keep a run waiting
* ``facts.py`` what an event tells, as flat fields
* ``logs.py`` the log
* ``celery_events.py`` events for Celery's monitors, in the group ``lock-*``
* ``event_sender.py`` the thread that sends these
* ``metrics.py`` the table of what is counted, for Prometheus and OpenTelemetry
* ``metric_settings.py`` which metrics an app wants, and where they are served
* ``tally.py`` counts what its process hears, and adds that to the statistics every half minute
* ``tally_sheet.py`` what was counted and is not written yet (pure)
* ``statistics.py`` what the processes of an app have counted, read back from Redis
* ``statistics_record.py`` these numbers in Redis
* ``beat_origins.py`` whether two beats send beside each other
* ``counting.py`` numbers and percentiles (pure)
* ``scripts/`` the Lua file that adds numbers up
* ``opentelemetry.py`` the metrics as OpenTelemetry keeps them
* ``traces.py`` whether OpenTelemetry's traces are told of an app's locks
* ``spans.py`` what they are told
* ``prometheus.py`` the metrics of this process, in the client of Prometheus
* ``zeros.py`` what has not happened yet, shown as 0
* ``serving.py`` the port from which Prometheus takes them
* ``fleet.py`` the locks of all workers together, as Redis knows them
* ``fleet_gauges.py`` the same, as OpenTelemetry observes them in one process
"""
