"""Trace files: their lines, checked, one after the other."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from paxoskv.trace.events import VERSION

Event = dict[str, Any]

_NUMBER: Final = (int, float)
_FRAME: Final = (int, str)
_WANTED: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "begin": {"version": (int,), "source": (str,), "mode": (str,), "nodes": (list,)},
    "start": {"node": (int,), "incarnation": (int,)},
    "crash": {"node": (int,)},
    "stop": {"node": (int,)},
    "pause": {"node": (int,)},
    "resume": {"node": (int,)},
    "send": {"frame": _FRAME, "source": (int,), "target": (int,), "messages": (list,)},
    "receive": {"frame": _FRAME, "source": (int,), "target": (int,)},
    "drop": {"frame": _FRAME, "source": (int,), "target": (int,), "reason": (str,)},
    "journal": {"node": (int,), "sequence": (int,), "bytes": (int,)},
    "commit": {"node": (int,), "sequence": (int,)},
    "state": {"node": (int,)},
    "call": {"call": (int,), "client": (int,), "node": (int,), "kind": (str,), "key": (str,)},
    "return": {"call": (int,), "outcome": (str,)},
    "fault": {"kind": (str,)},
    "heal": {"kind": (str,)},
    "failure": {"kind": (str,), "message": (str,)},
}
"""The fields that each event must have, and their types. Others may be there; other events are left alone."""
_LINE_SHOWN: Final = 60


class NotATrace(Exception):
    """A file is no trace, or not one that can be read here. The sentence says where, and what was expected."""


def read(path: Path, progress: Callable[[int], object] = lambda count: None) -> Iterator[Event]:
    """The events of a file, the first of which is its `begin`. Raises NotATrace; `progress` hears of lines read."""
    try:
        with path.open(encoding="utf-8", errors="backslashreplace") as file:
            yield from parse(file, str(path), progress)
    except FileNotFoundError:
        raise NotATrace(f"there is no file {path}") from None
    except IsADirectoryError:
        raise NotATrace(f"{path} is a folder; name a trace file in it") from None
    except OSError as error:
        raise NotATrace(f"{path} cannot be read: {error.strerror or error}") from None


def parse(lines: Iterable[str], name: str, progress: Callable[[int], object] = lambda count: None) -> Iterator[Event]:
    """The events of some lines. A last line without its end is one whose writer was killed in the middle of it."""
    empty = True
    for number, line in enumerate(lines, 1):
        if not number % 10_000:
            progress(number)
        if not line.strip():
            continue
        try:
            event = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError):
            if not empty and not line.endswith("\n"):
                return
            raise NotATrace(_sentence(name, number, f"expected one JSON object, found {_short(line)}", empty)) from None
        wrong = _what_is_wrong(event, empty)
        if wrong:
            raise NotATrace(_sentence(name, number, wrong, empty))
        empty = False
        if event["e"] in _WANTED:
            yield event
    if empty:
        raise NotATrace(f"{name} is empty; a trace begins with a line such as " + _EXAMPLE)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_EXAMPLE: Final = '{"t":0,"e":"begin","version":1,"source":"simulation","mode":"paxos","nodes":[1,2,3]}'


def _sentence(name: str, number: int, wrong: str, first: bool) -> str:
    sentence = f"{name}, line {number}: {wrong}"
    if first:
        sentence += (
            "; a trace comes from `paxoskv simulate --trace`, `paxoskv serve --trace` or `paxoskv verify --trace`"
        )
    return sentence


def _what_is_wrong(event: Any, first: bool) -> str:
    if not isinstance(event, dict):
        return f"expected one JSON object, found {_short(json.dumps(event))}"
    name = event.get("e")
    if first and name != "begin":
        return f'expected the first line of a trace, with "e":"begin", found {_short(json.dumps(event))}'
    if not isinstance(name, str):
        return f'expected an event, with "e", found {_short(json.dumps(event))}'
    if not _is(event.get("t"), _NUMBER):
        return f'expected "t", the time in seconds, as a number, found {_short(json.dumps(event))}'
    for field, types in _WANTED.get(name, {}).items():
        if not _is(event.get(field), types):
            wanted = " or ".join(_TYPE_NAMES[each] for each in types)
            found = json.dumps(event[field]) if field in event else "nothing"
            return f"expected {field!r} of {name!r} to be {wanted}, found {_short(found)}"
    if name == "begin" and not (event["nodes"] and all(_is(node, (int,)) for node in event["nodes"])):
        return f"expected 'nodes' of 'begin' to be the numbers of the nodes, found {_short(json.dumps(event['nodes']))}"
    if name == "begin" and event["version"] != VERSION:
        return f"it is a trace of version {event['version']}; this paxoskv reads version {VERSION}"
    return ""


_TYPE_NAMES: Final = {int: "a whole number", float: "a number", str: "text", list: "a list"}


def _is(value: object, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LINE_SHOWN else text[:_LINE_SHOWN] + "..."
