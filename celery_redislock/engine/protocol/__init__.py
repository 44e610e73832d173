"""Protocol: what is said to Redis and what its answers mean.

Nothing here has a socket, a clock or a thread: the contract "pure" of ``setup.cfg`` proves it. So a lock
that sends in another way, an asyncio twin say, says the same.

* ``keys.py`` a lock's name -> its keys, all in one slot
* ``exclusive.py`` the questions and answers of a lock that one holder has
* ``shared.py`` those of a lock that several hold at once
* ``limit.py`` what an operator has set for a lock
* ``script.py`` a Lua file, its digest and its command
* ``holder_record.py`` what Redis keeps of a holder, written and read
* ``wire.py`` commands as bytes
"""
