"""Transport: how a question gets to Redis and its answer back, in at most five seconds.

It has connections of its own, made as those of the user's client are, and goes wherever the master is
just now. This is the only place that would change with another client library. Its rooms:

* ``store.py``: the face: `Store`, which asks and runs scripts, and `Exchange`, which sends many commands.
* ``server.py``: one server, and its connections that nobody uses at the moment.
* ``connection.py``: one connection, used again only after an exchange that ended cleanly.
* ``bounded.py``: a socket whose steps all end at one deadline; all that redis-py keeps private.
* ``pools.py``: what the pool of a user's client says now, and when it is closed.
* ``routing.py``: a call that goes on until some server takes it.
* ``sentinel.py``: the master that Sentinels name.
* ``cluster.py``: the masters of a cluster.
* ``cluster_pipeline.py``: many commands, one pipeline for each master.
* ``redirection.py``: what MOVED and ASK say.
* ``replication.py``: WAIT behind a grant.
* ``outages.py``: what Redis says when it cannot serve, what that means, and the cure.
* ``clients.py``: a redis-py client becomes a store.
"""
