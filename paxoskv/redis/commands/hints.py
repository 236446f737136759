"""What COMMAND INFO tells clients that spread commands over a cluster; source: what Redis 7 says of its commands."""

from typing import Final

from paxoskv.redis.commands.table import Command

_SUMS: Final = ("request_policy:multi_shard", "response_policy:agg_sum")
_ALL_SUCCEED: Final = ("request_policy:all_shards", "response_policy:all_succeeded")
_VARIES: Final = ("nondeterministic_output",)
_ORDER_VARIES: Final = ("nondeterministic_output_order",)
_TIPS: Final = {
    "ping": _ALL_SUCCEED,
    "client|info": _VARIES,
    "client|list": _VARIES,
    "ttl": _VARIES,
    "pttl": _VARIES,
    "del": _SUMS,
    "unlink": _SUMS,
    "exists": _SUMS,
    "touch": _SUMS,
    "object|encoding": _VARIES,
    "dbsize": ("request_policy:all_shards", "response_policy:agg_sum"),
    "randomkey": ("request_policy:all_shards", *_VARIES),
    "keys": ("request_policy:all_shards", *_ORDER_VARIES),
    "scan": (*_VARIES, "request_policy:special"),
    "flushall": _ALL_SUCCEED,
    "flushdb": _ALL_SUCCEED,
    "time": _VARIES,
    "command": _ORDER_VARIES,
    "command|info": _ORDER_VARIES,
    "command|docs": _ORDER_VARIES,
    "command|list": _ORDER_VARIES,
    "config|set": ("request_policy:all_nodes", "response_policy:all_succeeded"),
    "info": (*_VARIES, "request_policy:all_shards", "response_policy:special"),
    "mget": ("request_policy:multi_shard",),
    "mset": ("request_policy:multi_shard", "response_policy:all_succeeded"),
}
_READS_AND_UPDATES: Final = ("RW", "access", "update")
_DELETES: Final = ("RM", "delete")
_OVERWRITES: Final = ("OW", "update")
_LOOKS: Final = ("RO",)
_KEY_FLAGS: Final = {
    "incr": _READS_AND_UPDATES,
    "decr": _READS_AND_UPDATES,
    "incrby": _READS_AND_UPDATES,
    "decrby": _READS_AND_UPDATES,
    "incrbyfloat": _READS_AND_UPDATES,
    "getset": _READS_AND_UPDATES,
    "getex": _READS_AND_UPDATES,
    "set": (*_READS_AND_UPDATES, "variable_flags"),
    "cas": _READS_AND_UPDATES,
    "getdel": ("RW", "access", "delete"),
    "del": _DELETES,
    "unlink": _DELETES,
    "delv": _DELETES,
    "exists": _LOOKS,
    "touch": _LOOKS,
    "type": _LOOKS,
    "object|encoding": _LOOKS,
    "strlen": _LOOKS,
    "setnx": ("OW", "insert"),
    "setex": _OVERWRITES,
    "psetex": _OVERWRITES,
    "mset": _OVERWRITES,
    "append": ("RW", "insert"),
}
_KEY_NOTES: Final = {
    "set": "RW and ACCESS due to the optional `GET` argument",
    "getex": "RW and UPDATE because it changes the TTL",
}


def tips(found: Command) -> tuple[str, ...]:
    """How its answers vary, and whom in a cluster it is for."""
    return _TIPS.get(found.name, ())


def key_flags(found: Command) -> tuple[str, ...]:
    """What it does to its keys."""
    return _KEY_FLAGS.get(found.name) or (("RO", "access") if "readonly" in found.flags else ("RW", "update"))


def key_notes(found: Command) -> str:
    """What else there is to say of that; mostly nothing."""
    return _KEY_NOTES.get(found.name, "")
