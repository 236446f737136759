"""What commands mean: each checks its arguments as Redis does and says which operations it takes, and how to answer."""

from paxoskv.redis.commands import client, counters, expiry, keys, keyspace, server, strings, versions
from paxoskv.redis.commands.table import TABLE, Command, find

__all__ = [
    "TABLE",
    "Command",
    "client",
    "counters",
    "expiry",
    "find",
    "keys",
    "keyspace",
    "server",
    "strings",
    "versions",
]
