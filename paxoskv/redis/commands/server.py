"""What tools ask of a server."""

import os
import platform
import re
import resource
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from paxoskv.core.numbers import parse_integer
from paxoskv.redis import replies
from paxoskv.redis.commands import hints
from paxoskv.redis.commands.client import REDIS_VERSION
from paxoskv.redis.commands.globs import matcher
from paxoskv.redis.commands.syntax import arguments_of
from paxoskv.redis.commands.table import (
    NO_KEY,
    SYNTAX_ERROR,
    TABLE,
    Arguments,
    Command,
    Refusal,
    command,
    container,
    find,
    shown,
)
from paxoskv.redis.session import Session


@command("time", 1, "loading stale fast", NO_KEY, "server", "2.6.0", "The time of the node's clock.")
def time_(session: Session, arguments: Arguments) -> bytes:
    seconds, milliseconds = divmod(session.host.wall_ms(), 1000)
    return replies.bulks([b"%d" % seconds, b"%d" % (milliseconds * 1000)])


def _key_specifications(found: Command, protocol: int) -> list[bytes]:
    """Where its keys are, as COMMAND INFO has it since Redis 7."""
    if not found.first_key:
        return []

    def pairs(**facts: bytes) -> bytes:
        return replies.mapping([(replies.bulk(name.encode()), value) for name, value in facts.items()], protocol)

    last = found.last_key if found.last_key < 0 else 0
    note = hints.key_notes(found)
    return [
        pairs(
            **({"notes": replies.bulk(note.encode())} if note else {}),
            flags=replies.set_of([replies.simple(flag) for flag in hints.key_flags(found)], protocol),
            begin_search=pairs(type=replies.bulk(b"index"), spec=pairs(index=replies.integer(found.first_key))),
            find_keys=pairs(
                type=replies.bulk(b"range"),
                spec=pairs(lastkey=replies.integer(last), keystep=replies.integer(found.key_step), limit=replies.ZERO),
            ),
        )
    ]


@lru_cache(maxsize=1024)
def _details(found: Command, protocol: int) -> bytes:
    return replies.array(
        [
            replies.bulk(found.name.encode()),
            replies.integer(found.arity),
            replies.set_of([replies.simple(flag) for flag in found.flags], protocol),
            replies.integer(found.first_key),
            replies.integer(found.last_key),
            replies.integer(found.key_step),
            replies.set_of([replies.simple(f"@{each}") for each in found.categories], protocol),
            replies.set_of([replies.bulk(tip.encode()) for tip in hints.tips(found)], protocol),
            replies.set_of(_key_specifications(found, protocol), protocol),
            replies.set_of([_details(each, protocol) for each in found.subcommands.values()], protocol),
        ]
    )


@lru_cache(maxsize=1024)
def _documentation(found: Command, protocol: int) -> bytes:
    facts = [
        (name, replies.bulk(text.encode()))
        for name, text in (("summary", found.summary), ("since", found.since), ("group", found.group))
    ]
    if found.syntax:
        arguments = arguments_of(found.syntax)
        facts.append(("arguments", replies.array([argument.reply(protocol) for argument in arguments])))
    if found.subcommands:
        facts.append(("subcommands", _documentations(found.subcommands.values(), protocol)))
    return replies.mapping([(replies.bulk(name.encode()), value) for name, value in facts], protocol)


def _documentations(commands: Iterable[Command], protocol: int) -> bytes:
    return replies.mapping(
        [(replies.bulk(found.name.encode()), _documentation(found, protocol)) for found in commands], protocol
    )


def _check_count(arguments: Arguments) -> None:
    if len(arguments) > _NAMES_MAX:
        raise Refusal(f"ERR too many names: {len(arguments)}, at most {_NAMES_MAX} at a time")


def _named(arguments: Arguments) -> list[Command | None]:
    """The commands of these names, "client|id" being a subcommand; all if there is none."""
    _check_count(arguments)
    found: list[Command | None] = []
    for argument in arguments:
        name, _, own = argument.decode("latin-1").lower().partition("|")
        parent = TABLE.get(name)
        found.append(parent.subcommands.get(own) if parent is not None and own else parent)
    return found or list(TABLE.values())


def _all_details(session: Session, arguments: Arguments) -> bytes:
    return replies.array([_details(found, session.protocol) for found in TABLE.values()])


container("command", "server", "2.8.13", "What commands there are.", alone=_all_details)
_VERSION: Final = version("paxoskv")
_ANY: Final = "loading stale"
# Of commands and of parameters, at the most.
_NAME_BYTES_MAX: Final = 64
# Or of patterns of them, in one command.
_NAMES_MAX: Final = 256


@command("command|count", 2, _ANY, NO_KEY, "server", "2.8.13", "How many there are.")
def command_count(session: Session, arguments: Arguments) -> bytes:
    return replies.integer(len(TABLE))


@command("command|info", -2, _ANY, NO_KEY, "server", "2.8.13", "Details of commands.", "[command-name...]")
def command_info(session: Session, arguments: Arguments) -> bytes:
    protocol = session.protocol
    return replies.array(
        [replies.null(protocol) if found is None else _details(found, protocol) for found in _named(arguments)]
    )


@command("command|docs", -2, _ANY, NO_KEY, "server", "7.0.0", "Documentation of commands.", "[command-name...]")
def command_docs(session: Session, arguments: Arguments) -> bytes:
    return _documentations([found for found in _named(arguments) if found is not None], session.protocol)


_FILTER: Final = "[FILTERBY (MODULE module-name|ACLCAT category|PATTERN pattern)]"


@command("command|list", -2, _ANY, NO_KEY, "server", "7.0.0", "Names of commands.", _FILTER)
def command_list(session: Session, arguments: Arguments) -> bytes:
    chosen = [each for found in TABLE.values() for each in (found, *found.subcommands.values())]
    if arguments:
        if len(arguments) != 3 or arguments[0].upper() != b"FILTERBY":
            raise Refusal(SYNTAX_ERROR)
        kind, wanted = arguments[1].upper(), arguments[2].decode("latin-1").lower()
        if kind == b"PATTERN":
            matches = matcher(wanted.encode("latin-1"), _NAME_BYTES_MAX)
            chosen = [found for found in chosen if matches(found.name.encode())]
        elif kind == b"ACLCAT":
            chosen = [found for found in chosen if wanted in found.categories]
        elif kind == b"MODULE":
            chosen = []
        else:
            raise Refusal(SYNTAX_ERROR)
    return replies.bulks(found.name.encode() for found in chosen)


@command("command|getkeys", -4, _ANY, NO_KEY, "server", "2.8.13", "The keys of a command.", "command [arg...]")
def command_getkeys(session: Session, arguments: Arguments) -> bytes:
    try:
        found = find(arguments)
    except Refusal as refusal:
        wrong = "number of arguments" in str(refusal)
        text = "Invalid number of arguments specified for command" if wrong else "Invalid command specified"
        raise Refusal(f"ERR {text}") from None
    if not found.first_key:
        raise Refusal("ERR The command has no key arguments")
    return replies.bulks(found.keys(arguments[found.words :]))


def _parameters(session: Session) -> dict[str, str]:
    host = session.host
    return {
        "appendfsync": "always",
        "appendonly": "yes",
        "bind": "",
        "databases": "1",
        "maxclients": str(host.clients_max),
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "notify-keyspace-events": "",
        "port": session.local_address.rpartition(":")[2],
        "proto-max-bulk-len": str(host.value_bytes_max),
        "requirepass": "",
        "save": "",
        "timeout": "0",
    }


container("config", "server", "2.0.0", "Parameters of the node, which are set in cluster.toml and by options.")
_ADMIN: Final = "admin noscript loading stale"


@command("config|get", -3, _ADMIN, NO_KEY, "server", "2.0.0", "Shows parameters.", "parameter...")
def config_get(session: Session, arguments: Arguments) -> bytes:
    _check_count(arguments)
    parameters = _parameters(session)
    listed: dict[str, tuple[bytes, str]] = {}
    for argument in arguments:
        name = argument.decode("latin-1").lower()
        if name in parameters:
            # Under the name that it was asked for by first, as Redis has it.
            listed.setdefault(name, (argument, parameters[name]))
        elif re.search(rb"[*?\[]", argument):
            matches = matcher(argument.lower(), _NAME_BYTES_MAX)
            for name, value in parameters.items():
                if matches(name.encode()):
                    listed.setdefault(name, (name.encode(), value))
    return replies.mapping(
        [(replies.bulk(name), replies.bulk(value.encode())) for name, value in listed.values()], session.protocol
    )


_MEMORY: Final = frozenset(("maxmemory", "proto-max-bulk-len"))
_INTEGERS: Final = frozenset(("maxclients", "timeout"))
_UNITS: Final = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}
_AMOUNT: Final = re.compile(r"([0-9]{1,19})([kmg]?b?)")


def _is_same(name: str, given: str, value: str) -> bool:
    """Whether a parameter's value is as given, memory perhaps with another unit. Raises Refusal for what is none."""
    failed = f"ERR CONFIG SET failed (possibly related to argument '{name}') - "
    if name in _MEMORY:
        amount = _AMOUNT.fullmatch(given)
        if amount is None:
            raise Refusal(failed + "argument must be a memory value")
        return int(amount[1]) * _UNITS[amount[2]] == int(value)
    if name in _INTEGERS and parse_integer(given.encode("latin-1")) is None:
        raise Refusal(failed + "argument couldn't be parsed into an integer")
    return given == value


@command("config|set", -4, _ADMIN, NO_KEY, "server", "2.0.0", "Takes what is so anyhow.", "(parameter value)...")
def config_set(session: Session, arguments: Arguments) -> bytes:
    if len(arguments) % 2:
        raise Refusal(SYNTAX_ERROR)
    parameters = _parameters(session)
    names = [name.decode("latin-1").lower() for name in arguments[::2]]
    for at, name in enumerate(names):
        given = shown(arguments[2 * at])
        if name not in parameters:
            raise Refusal(f"ERR Unknown option or number of arguments for CONFIG SET - '{given}'")
        if name in names[:at]:
            raise Refusal(f"ERR CONFIG SET failed (possibly related to argument '{given}') - duplicate parameter")
    for name, value in zip(names, arguments[1::2], strict=True):
        if not _is_same(name, value.decode("latin-1").lower(), parameters[name]):
            raise Refusal(
                f"ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config; "
                "it is set in cluster.toml, or by an option of the node"
            )
    return replies.OK


@command("config|resetstat", 2, _ADMIN, NO_KEY, "server", "2.0.0", "Sets the counters of INFO to 0.")
def config_resetstat(session: Session, arguments: Arguments) -> bytes:
    sessions = session.sessions
    sessions.commands_processed = sessions.connections_received = sessions.error_replies = 0
    return replies.OK


def _server_info(session: Session) -> dict[str, object]:
    status = session.host.status()
    uptime_s = int(status["uptime_s"])
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "standalone",
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "arch_bits": 64,
        "process_id": os.getpid(),
        "run_id": f"{status['node']:08x}{status['incarnation']:032x}",
        "tcp_port": session.local_address.rpartition(":")[2],
        "server_time_usec": time.time_ns() // 1000,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s // 86400,
        "paxoskv_version": _VERSION,
        "paxoskv_cluster": status["cluster"],
        "paxoskv_mode": status["mode"],
        "paxoskv_node": status["node"],
    }


def _clients_info(session: Session) -> dict[str, object]:
    return {
        "connected_clients": len(session.sessions.open),
        "maxclients": session.host.clients_max,
        "blocked_clients": 0,
    }


def _memory_info(session: Session) -> dict[str, object]:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    used = pages * resource.getpagesize()
    return {
        "used_memory": used,
        "used_memory_human": f"{used / 2**20:.2f}M",
        "used_memory_rss": used,
        "used_memory_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "maxmemory": 0,
        "maxmemory_policy": "noeviction",
    }


def _persistence_info(session: Session) -> dict[str, object]:
    return {
        "loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_save_time": int(time.time()),
        "aof_enabled": 1,
        "aof_rewrite_in_progress": 0,
        "aof_last_write_status": "ok",
    }


def _stats_info(session: Session) -> dict[str, object]:
    sessions = session.sessions
    return {
        "total_connections_received": sessions.connections_received,
        "total_commands_processed": sessions.commands_processed,
        "total_error_replies": sessions.error_replies,
    }


def _replication_info(session: Session) -> dict[str, object]:
    return {"role": "master", "connected_slaves": 0, "master_repl_offset": 0}


def _cpu_info(session: Session) -> dict[str, object]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"used_cpu_sys": f"{usage.ru_stime:.6f}", "used_cpu_user": f"{usage.ru_utime:.6f}"}


def _cluster_info(session: Session) -> dict[str, object]:
    return {"cluster_enabled": 0}


def _keyspace_info(session: Session) -> dict[str, object]:
    keys = session.host.status()["keys"]
    return {"db0": f"keys={keys},expires=0,avg_ttl=0"} if keys else {}


_SECTIONS: Final[dict[str, Callable[[Session], dict[str, object]]]] = {
    "Server": _server_info,
    "Clients": _clients_info,
    "Memory": _memory_info,
    "Persistence": _persistence_info,
    "Stats": _stats_info,
    "Replication": _replication_info,
    "CPU": _cpu_info,
    "Cluster": _cluster_info,
    "Keyspace": _keyspace_info,
}
_ALL: Final = frozenset(("all", "default", "everything"))


@command("info", -1, "loading stale", NO_KEY, "server", "1.0.0", "Facts about the node.", "[section...]")
def info(session: Session, arguments: Arguments) -> bytes:
    wanted = {name.decode("latin-1").lower() for name in arguments}
    every = not wanted or bool(wanted & _ALL)
    parts = []
    for name, facts in _SECTIONS.items():
        if every or name.lower() in wanted:
            lines = "".join(f"{fact}:{value}\r\n" for fact, value in facts(session).items())
            parts.append(f"# {name}\r\n{lines}")
    return replies.verbatim("\r\n".join(parts), session.protocol)
