"""Protocol: what is said to Redis and what its answers mean, without a socket, a clock or a thread.

Whoever sends it, and however, says the same: the threads of today, or an asyncio client. Its rooms:

* ``keys.py``: a lock's name becomes the keys of one hash slot.
* ``exclusive.py``: the questions about a lock that one holder has, and what their answers mean.
* ``script.py``: a Lua file, its digest, the commands that run it.
* ``holder_record.py``: what Redis keeps of a holder, written and read.
* ``wire.py``: commands as bytes.
"""
