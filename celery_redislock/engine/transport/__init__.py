"""Transport: how a command reaches Redis: in bounded time, on connections of our own.

A call ends in at most five seconds, wherever the master is just now. ``docs/architecture.md`` says why the
connections are our own. This folder is the only place that another client library would change.

* ``store.py`` the face: what all stores can do
* ``server.py`` the store that is one server, and its idle connections
* ``connection.py`` one connection, used again only after an exchange that ended cleanly
* ``unread.py`` the reply to a command that is not waited for
* ``bounded.py`` a socket whose steps all end at one deadline
* ``pools.py`` what the pool of the user's client says, and when it is closed
* ``routing.py`` a call that goes on until some server takes it
* ``redirection.py`` MOVED and ASK (pure)
* ``cluster.py`` the store that is a cluster: the master of each slot
* ``cluster_pipeline.py`` many commands, one pipeline for each master
* ``sentinel.py`` the store whose master is named by Sentinels
* ``replication.py`` WAIT behind a grant
* ``redis_errors.py`` what Redis says when it cannot serve, and the cure
* ``clients.py`` redis-py client -> store
"""
