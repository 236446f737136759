"""Jepsen's histories: EDN maps, and the lines that its older versions logged.

What a client calls and what it is answered are two lines; they meet here by process. Values become the EDN text that
they are, nil an absent key. A list, of the append workloads, becomes its elements one after the other, each with a
space behind it. Where text is appended, values are that text itself, and a key that was never written holds "", as the
test suites of key-value stores have it.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from paxoskv.check.formats import edn
from paxoskv.check.formats.edn import Keyword
from paxoskv.check.formats.unreadable import Unreadable
from paxoskv.check.history import (
    APPEND,
    CAS,
    DELETE,
    FAILED,
    GET,
    INCR,
    OK,
    PUT,
    SWAP,
    UNKNOWN,
    Answer,
    Argument,
    Fault,
    History,
    Row,
    Value,
)

_FUNCTIONS: Final = {
    "read": GET,
    "r": GET,
    "get": GET,
    "write": PUT,
    "w": PUT,
    "put": PUT,
    "set": PUT,
    "cas": CAS,
    "add": INCR,
    "inc": INCR,
    "incr": INCR,
    "increment": INCR,
    "dec": INCR,
    "decr": INCR,
    "decrement": INCR,
    "append": APPEND,
    "delete": DELETE,
    "del": DELETE,
    "swap": SWAP,
    "get-and-set": SWAP,
}
_DOWN: Final = frozenset(("dec", "decr", "decrement"))
_TYPES: Final = frozenset(("invoke", "ok", "fail", "info"))
# As logged, by any version: "INFO  jepsen.util - 3", "INFO [...] jepsen worker 3 - jepsen.util 3"; or in history.txt.
_LOGGED: Final = re.compile(
    r"(?:^|jepsen\.util\b\s*[-:]?\s*)(-?\d+|:[\w-]+)\s+:(invoke|ok|fail|info)\s+(:\S+)(?:\s+(.*\S))?\s*$"
)
_HALF_LOGGED: Final = re.compile(r"(?:^|jepsen\.util\b\s*[-:]?\s*)(?:-?\d+|:[\w-]+)\t")
_PLAIN: Final = re.compile(r"[A-Za-z_][\w ./@-]*\Z")
_MODEL_KINDS: Final = {
    "register": frozenset((GET, PUT, CAS, DELETE, SWAP)),
    "counter": frozenset((GET, INCR)),
    "append": frozenset((GET, APPEND)),
}


@dataclass(slots=True)
class _Event:
    """One line."""

    line: int
    process: Any
    type: str
    function: str
    value: Any
    time: float | None
    key: Any = None
    has_key: bool = False
    number: int = 0
    """That of the line, unless several stand on one: then its place among all."""


def read_edn(text: str, history: History, model: str, initial: Value) -> None:
    """Add a history of EDN maps, one after the other or in vectors."""
    _gather(_events_of(edn.parse(text)), history, model, initial)


def read_log(text: str, history: History, model: str, initial: Value) -> None:
    """Add the history that is in a log; lines about other things are passed over."""
    _gather(_logged(text), history, model, initial)


def _logged(text: str) -> Iterator[_Event]:
    found = False
    for number, line in enumerate(text.split("\n"), 1):
        match = _LOGGED.search(line)
        if match is None:
            if _HALF_LOGGED.search(line):
                # To pass over what a client did could turn the verdict.
                raise Unreadable(
                    number, f"{line[:80]!r}, expected process, :invoke, :ok, :fail or :info, :function, value"
                )
            continue
        found = True
        process, kind, function, rest = match.groups()
        values = [value for _, value in _on_line(number, rest or "")]
        yield _Event(number, edn_process(process), kind, function[1:], values[0] if values else None, None)
    if not found:
        raise Unreadable(0, "no line says what a client did, as in: INFO  jepsen.util - 3<tab>:invoke<tab>:write<tab>4")


def _on_line(number: int, text: str) -> Iterator[tuple[int, Any]]:
    try:
        yield from edn.parse(text)
    except Unreadable as error:
        raise Unreadable(number, error.message) from None


def edn_process(text: str) -> Any:
    """A process as a log names it."""
    return int(text) if text.lstrip("-").isdigit() else Keyword(text.lstrip(":"))


def _events_of(values: Iterable[tuple[int, Any]]) -> Iterator[_Event]:
    for line, value in values:
        if isinstance(value, edn.Outermost):
            yield from _events_of(zip(value.lines, value, strict=True))
            continue
        if not isinstance(value, dict):
            raise Unreadable(line, f"{edn.show(value)[:60]}, expected a map as {{:type :invoke, :f :read, ...}}")
        kind, function, process = value.get("type"), value.get("f"), value.get("process")
        for field, found in (("type", kind), ("f", function), ("process", process)):
            if found is None:
                raise Unreadable(line, f"the map has no :{field}")
        if not isinstance(kind, str) or kind not in _TYPES:
            raise Unreadable(line, f":type is {edn.show(kind)}, expected :invoke, :ok, :fail or :info")
        time = value.get("time")
        if time is not None and (isinstance(time, bool) or not isinstance(time, int | float) or not abs(time) < 1e300):
            raise Unreadable(line, f":time is {edn.show(time)}, expected nanoseconds")
        name = function if isinstance(function, str) else edn.show(function)
        event = _Event(line, process, str(kind), str(name), value.get("value"), time)
        if "key" in value:
            event.key, event.has_key = value["key"], True
        yield event


def _gather(events: Iterable[_Event], history: History, model: str, initial: Value) -> None:
    everything = list(events)
    clients = [event for event in everything if isinstance(event.process, int)]
    timed = [event for event in everything if event.time is not None]
    if timed and len(timed) < len(everything):
        without = next(event for event in everything if event.time is None)
        raise Unreadable(without.line, "the map has no :time, though others have")
    if not timed:
        history.time_unit = "line"
    crowded = len({event.line for event in everything}) < len(everything)
    for place, event in enumerate(everything, 1):
        event.number = place if crowded else event.line
        event.time = float(event.number) if event.time is None else event.time / 1e9
    _unwrap(clients)
    kinds = {_kind(event) for event in clients}
    if model != "auto" and not kinds <= _MODEL_KINDS[model]:
        event = next(event for event in clients if _kind(event) not in _MODEL_KINDS[model])
        raise Unreadable(event.line, f":f :{event.function} is nothing that a {model} does")
    whole = APPEND not in kinds and model != "append" and any(map(_writes_vector, clients))
    counter = kinds <= _MODEL_KINDS["counter"] and (INCR in kinds or model == "counter")
    nothing = b"0" if counter else b"" if _appends_text(clients) else None
    spell = _text_of if nothing == b"" else value_of if whole else _list_of
    _pair(clients, history, nothing if initial is None else initial, nothing, spell)
    history.faults.extend(_faults([event for event in everything if not isinstance(event.process, int)]))


def _appends_text(events: list[_Event]) -> bool:
    """Whether appends add text to a text, and not elements to a list."""
    appended = [event.value for event in events if _kind(event) == APPEND and event.type == "invoke"]
    return (
        bool(appended)
        and all(type(value) is str for value in appended)
        and not any(isinstance(event.value, tuple) for event in events if _kind(event) == GET)
    )


def _kind(event: _Event) -> int:
    kind = _FUNCTIONS.get(event.function)
    if kind is None:
        raise Unreadable(
            event.line,
            f":f is :{event.function}, expected :read, :write, :cas, :add, :append, :delete or :swap",
        )
    return kind


def _unwrap(events: list[_Event]) -> None:
    """Take keys out of values: transactions of one operation, and the tuples of jepsen.independent."""
    called: dict[int, _Event] = {}
    for event in events:
        if event.function != "txn":
            continue
        value = event.value
        if event.type in ("info", "fail") and event.process in called:
            # Instead of a value it may have an error, and says nothing that its call did not.
            call = called[event.process]
            event.function, event.key, event.value, event.has_key = call.function, call.key, None, True
            continue
        if not isinstance(value, tuple) or not all(isinstance(each, tuple) and len(each) == 3 for each in value):
            raise Unreadable(event.line, "the :value of a :txn must be a vector of [f key value]")
        if len(value) != 1:
            raise Unreadable(
                event.line,
                f"a transaction of {len(value)} operations: this checks operations on single keys, "
                "not transactions (Elle does)",
            )
        function, event.key, event.value = value[0]
        event.function, event.has_key = str(function), True
        called[event.process] = event
    bare = [event for event in events if not event.has_key and event.type in ("invoke", "ok")]
    if bare and all(_is_independent(event) for event in bare):
        for event in events:
            if not event.has_key and isinstance(event.value, tuple) and len(event.value) == 2:
                event.key, event.value = event.value
                event.has_key = True


def _is_independent(event: _Event) -> bool:
    value = event.value
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    return event.function != "cas" or (isinstance(value[1], tuple) and len(value[1]) == 2)


def _pair(
    events: list[_Event], history: History, initial: Value, nothing: Value, spell: Callable[[Any], Value]
) -> None:
    """Add an operation for each call. A key that was never written is read as `nothing`: "0", "" or not at all."""
    open_calls: dict[int, _Event] = {}
    rows: dict[bytes, list[Row]] = {}
    spell_key = _text_of if all(type(event.key) is str for event in events if event.has_key) else value_of

    def done(call: _Event, end: _Event | None) -> None:
        key = b"" if call.key is None else spell_key(call.key) or b""
        row = _row(call, end, spell, nothing)
        rows.setdefault(key, []).append(row)

    for event in events:
        call = open_calls.pop(event.process, None)
        if event.type == "invoke":
            if call is not None:
                raise Unreadable(
                    event.line,
                    f"process {event.process} invokes :{event.function} while its :{call.function} of "
                    f"line {call.line} is still open",
                )
            open_calls[event.process] = event
            continue
        if call is None:
            if event.type == "info":
                continue
            raise Unreadable(event.line, f"process {event.process} is answered :{event.type}, but has nothing open")
        if call.function != event.function:
            raise Unreadable(
                event.line,
                f"process {event.process} is answered for :{event.function}, but line {call.line} called "
                f":{call.function}",
            )
        if event.type == "ok" and event.has_key and event.key != call.key:
            raise Unreadable(
                event.line,
                f"process {event.process} is answered for key {edn.show(event.key)}, but line {call.line} called for "
                f"key {edn.show(call.key)}",
            )
        done(call, event if event.type != "info" else None)
    for call in open_calls.values():
        done(call, None)
    for key, new in rows.items():
        if initial is not None:
            history.initial[key] = initial, None
        new.sort(key=lambda row: row[0])
        history.extend(key, new)


def _row(call: _Event, end: _Event | None, spell: Callable[[Any], Value], nothing: Value) -> Row:
    kind = _kind(call)
    value = call.value
    argument: Argument = None
    condition: Argument = None
    if kind == CAS:
        if isinstance(value, tuple) and len(value) == 2:
            condition, argument = spell(value[0]), spell(value[1])
        if argument is None:
            raise Unreadable(call.line, f"the :value of :cas is {edn.show(value)}, expected [old new]")
        condition = nothing if condition is None else condition
    elif kind == INCR:
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise Unreadable(call.line, f"the :value of :{call.function} is {edn.show(value)}, expected an integer")
        amount = 1 if value is None else value
        argument = -amount if call.function in _DOWN else amount
    elif kind == APPEND:
        argument = value.encode() if nothing == b"" else edn.show(value).encode() + b" "
    elif kind in (PUT, SWAP):
        argument = spell(value)
        if argument is None:
            if kind == SWAP:
                shown = edn.show(value)
                raise Unreadable(call.line, f"the :value of :{call.function} is {shown}, expected what to set")
            # Nothing is what a key holds that was never written.
            kind = DELETE
    if kind == DELETE and nothing is not None:
        kind, argument = PUT, nothing
    outcome = UNKNOWN if end is None else OK if end.type == "ok" else FAILED
    result: Answer = None
    if end is not None and outcome == OK and kind in (GET, SWAP):
        result = spell(end.value)
        if result is None:
            result = nothing
    assert call.time is not None
    finish = math.inf
    if end is not None:
        assert end.time is not None
        if end.time < call.time:
            raise Unreadable(end.line, f"answered before line {call.line} called")
        finish = end.time
    return call.number, call.process, kind, call.time, finish, outcome, argument, condition, result, None


def value_of(value: Any) -> Value:
    """A value of a register: its EDN, but text without quotes where nothing else looks like that."""
    if value is None:
        return None
    if type(value) is str and _PLAIN.match(value) and value not in ("nil", "true", "false"):
        return value.encode()
    return edn.show(value).encode()


def _list_of(value: Any) -> Value:
    """A list to which is appended, as its elements; an empty one is what a key holds that was never written."""
    if isinstance(value, tuple):
        return b"".join(edn.show(each).encode() + b" " for each in value) or None
    return value_of(value)


def _writes_vector(event: _Event) -> bool:
    """Whether a vector is a value like any other, as nothing else can have written it."""
    written = event.value if _kind(event) == CAS else (event.value,) if _kind(event) in (PUT, SWAP) else ()
    return isinstance(written, tuple) and any(isinstance(each, tuple) for each in written)


def _text_of(value: Any) -> Value:
    """Text as it is, anything else as its EDN."""
    return value.encode() if type(value) is str else value_of(value)


def _faults(events: list[_Event]) -> list[Fault]:
    """What the nemesis did. It speaks twice of each thing, when it begins and when it has done it."""
    found: list[Fault] = []
    begun: dict[str, Fault] = {}
    doing: str | None = None
    ending: str | None = None
    for event in events:
        if event.type == "invoke":
            continue
        assert event.time is not None
        text = "" if event.value is None else edn.show(event.value)
        family = _family(event.function)
        if event.function == doing:
            # Done: now it can say what it has done.
            doing = None
            if ending is not None:
                found[-1] = replace(found[-1], finish=event.time)
            elif family in begun and text:
                begun[family] = replace(begun[family], text=text)
            continue
        doing = event.function
        ended = _ends(event.function) or ()
        ending = next((each for each in ended if each in begun), None)
        if ending is not None:
            found.append(replace(begun.pop(ending), finish=event.time))
        elif not ended or event.function == "start":
            begun.setdefault(family, Fault(event.function, event.time, None, None, text))
    return sorted([*found, *begun.values()], key=lambda fault: fault.start)


def _family(function: str) -> str:
    return function.removeprefix("start-").removesuffix("-start")


def _ends(function: str) -> tuple[str, ...] | None:
    """The families of faults that a function of the nemesis ends, None if it begins one."""
    if function == "start":
        return ("kill",)
    if function == "stop":
        return ("start", "partition", "isolate")
    if function in ("heal", "recover", "fast"):
        return ("partition", "isolate", "start", "slow", "flaky")
    if function in ("resume", "continue"):
        return ("pause",)
    if function in ("restart", "revive"):
        return ("kill", "crash")
    if function in ("reset", "reset-clock"):
        return ("bump", "strobe", "skew", "bump-clock", "strobe-clock")
    if function.startswith("stop-"):
        return (function.removeprefix("stop-"),)
    return None
