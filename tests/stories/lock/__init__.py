"""The engine, on real servers: what is about this lock, besides the contract of any (``tests/contract``)."""
