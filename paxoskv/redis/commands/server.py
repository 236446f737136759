"""What tools ask of a server."""

import fnmatch
import time
from collections.abc import Callable
from typing import Final

from paxoskv.redis import replies
from paxoskv.redis.commands.client import REDIS_VERSION
from paxoskv.redis.commands.table import (
    NO_KEY,
    TABLE,
    Arguments,
    Command,
    Refusal,
    command,
    wrong_number,
)
from paxoskv.redis.session import Session


@command("time", 1, "fast", NO_KEY, "server", "2.6.0", "The time of the node's clock.")
def time_(session: Session, arguments: Arguments) -> bytes:
    seconds, milliseconds = divmod(session.host.wall_ms(), 1000)
    return replies.bulks([b"%d" % seconds, b"%d" % (milliseconds * 1000)])


def _details(found: Command, protocol: int) -> bytes:
    return replies.array(
        [
            replies.bulk(found.name.encode()),
            replies.integer(found.arity),
            replies.set_of([replies.simple(flag) for flag in found.flags], protocol),
            replies.integer(found.first_key),
            replies.integer(found.last_key),
            replies.integer(found.key_step),
            replies.set_of(
                [replies.simple(f"@{each}") for each in ("read" if "readonly" in found.flags else "write",)]
                if found.first_key
                else [],
                protocol,
            ),
            replies.EMPTY_ARRAY,
            replies.EMPTY_ARRAY,
            replies.EMPTY_ARRAY,
        ]
    )


def _documentation(found: Command, protocol: int) -> bytes:
    facts = (("summary", found.summary), ("since", found.since), ("group", found.group))
    return replies.mapping(
        [(replies.bulk(name.encode()), replies.bulk(text.encode())) for name, text in facts], protocol
    )


@command(
    "command", -1, "loading stale", NO_KEY, "server", "2.8.13", "What commands there are.", ("count", "docs", "info")
)
def command_(session: Session, arguments: Arguments) -> bytes:
    if not arguments:
        return replies.array([_details(found, session.protocol) for found in TABLE.values()])
    given = arguments[0].decode("latin-1")
    names = [name.decode("latin-1").lower() for name in arguments[1:]]
    match given.lower():
        case "count":
            if names:
                raise Refusal(wrong_number("command|count"))
            return replies.integer(len(TABLE))
        case "list":
            return replies.bulks(name.encode() for name in TABLE)
        case "info":
            return replies.array(
                [
                    _details(TABLE[name], session.protocol) if name in TABLE else replies.null(session.protocol)
                    for name in (names or TABLE)
                ]
            )
        case "docs":
            return replies.mapping(
                [
                    (replies.bulk(name.encode()), _documentation(TABLE[name], session.protocol))
                    for name in (names or TABLE)
                    if name in TABLE
                ],
                session.protocol,
            )
    raise Refusal(f"ERR unknown subcommand '{given[:128]}'. Try COMMAND HELP.")


def _parameters(session: Session) -> dict[str, str]:
    return {
        "appendfsync": "always",
        "appendonly": "yes",
        "bind": "",
        "databases": "1",
        "maxclients": str(session.host.clients_max),
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "proto-max-bulk-len": str(session.host.value_bytes_max),
        "save": "",
        "timeout": "0",
    }


@command("config", -2, "admin", NO_KEY, "server", "2.0.0", "Shows parameters.", ("get", "set"))
def config(session: Session, arguments: Arguments) -> bytes:
    given = arguments[0].decode("latin-1")
    parameters = _parameters(session)
    match given.lower():
        case "get":
            if len(arguments) < 2:
                raise Refusal(wrong_number("config|get"))
            patterns = [pattern.decode("latin-1").lower() for pattern in arguments[1:]]
            found = [name for name in parameters if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
            return replies.mapping(
                [(replies.bulk(name.encode()), replies.bulk(parameters[name].encode())) for name in found],
                session.protocol,
            )
        case "set":
            if len(arguments) < 3 or len(arguments) % 2 == 0:
                raise Refusal(wrong_number("config|set"))
            name = arguments[1].decode("latin-1")
            if name.lower() not in parameters:
                raise Refusal(f"ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            raise Refusal(f"ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config")
    raise Refusal(f"ERR unknown subcommand '{given[:128]}'. Try CONFIG HELP.")


def _server_info(session: Session) -> dict[str, object]:
    status = session.host.status()
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "standalone",
        "paxoskv_cluster": status["cluster"],
        "paxoskv_mode": status["mode"],
        "paxoskv_node": status["node"],
        "uptime_in_seconds": int(status["uptime_s"]),
        "server_time_usec": time.time_ns() // 1000,
    }


def _clients_info(session: Session) -> dict[str, object]:
    return {"connected_clients": len(session.sessions.open), "maxclients": session.host.clients_max}


def _stats_info(session: Session) -> dict[str, object]:
    sessions = session.sessions
    return {
        "total_connections_received": sessions.connections_received,
        "total_commands_processed": sessions.commands_processed,
    }


def _persistence_info(session: Session) -> dict[str, object]:
    return {"loading": 0, "aof_enabled": 1, "aof_last_write_status": "ok"}


def _replication_info(session: Session) -> dict[str, object]:
    return {"role": "master", "connected_slaves": 0}


def _keyspace_info(session: Session) -> dict[str, object]:
    keys = session.host.status()["keys"]
    return {"db0": f"keys={keys},expires=0,avg_ttl=0"} if keys else {}


_SECTIONS: Final[dict[str, Callable[[Session], dict[str, object]]]] = {
    "server": _server_info,
    "clients": _clients_info,
    "persistence": _persistence_info,
    "stats": _stats_info,
    "replication": _replication_info,
    "keyspace": _keyspace_info,
}
_ALL: Final = frozenset(("all", "default", "everything"))


@command("info", -1, "loading stale", NO_KEY, "server", "1.0.0", "Facts about the node.")
def info(session: Session, arguments: Arguments) -> bytes:
    wanted = {name.decode("latin-1").lower() for name in arguments}
    every = not wanted or bool(wanted & _ALL)
    parts = []
    for name, facts in _SECTIONS.items():
        if every or name in wanted:
            lines = "".join(f"{fact}:{value}\r\n" for fact, value in facts(session).items())
            parts.append(f"# {name.capitalize()}\r\n{lines}")
    return replies.verbatim("\r\n".join(parts), session.protocol)
