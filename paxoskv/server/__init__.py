"""The driver that serves: asyncio on uvloop, real sockets, SQLite.

`run` starts a node from its configuration; `node` turns the engine; `clients` and `peers` are the two ports.
"""
