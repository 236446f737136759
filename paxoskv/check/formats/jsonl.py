"""JSON Lines, one operation, fault or initial value each. docs/history-format.md describes them."""

import base64
import binascii
import json
import math
import os
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, Final, TextIO

import msgspec
from msgspec import UNSET, UnsetType

from paxoskv.check.formats.unreadable import Unreadable
from paxoskv.check.history import (
    APPEND,
    CAS,
    CONDITION_FAILED,
    DELETE,
    FAILED,
    GET,
    INCR,
    KIND_NUMBERS,
    OK,
    OUTCOME_NUMBERS,
    PUT,
    REFUSALS,
    SWAP,
    UNKNOWN,
    Answer,
    Argument,
    Fault,
    History,
    Operation,
    Row,
    Value,
)

_BLOCK_BYTES: Final = 4 * 1024 * 1024
_WITHOUT_VALUE: Final = {GET: ', what it returned is its "result"', DELETE: "", INCR: ', what it adds is "by"'}

Progress = Callable[[int], None]
"""Told how many more bytes were read."""


class _Line(msgspec.Struct, gc=False):
    """Everything that a line can have."""

    kind: str = ""
    client: int | str | None = None
    key: str | None = None
    start: float | None = None
    finish: float | None = None
    outcome: str | None = None
    value: str | UnsetType | None = UNSET
    expected: str | UnsetType | None = UNSET
    by: int | UnsetType = UNSET
    if_version: int | None = None
    result: str | int | bool | UnsetType | None = UNSET
    version: int | None = None
    key_base64: str | None = None
    value_base64: str | UnsetType = UNSET
    expected_base64: str | UnsetType = UNSET
    result_base64: str | UnsetType = UNSET
    initial: str | UnsetType | None = UNSET
    initial_base64: str | UnsetType = UNSET
    fault: str | None = None
    node: int | str | None = None
    text: str = ""


class _Wrong(Exception):
    """What is wrong with a line."""


def read(source: BinaryIO, history: History, progress: Progress | None = None) -> None:
    """Add what a stream of JSON Lines holds. Raises Unreadable."""
    decoder = msgspec.json.Decoder(_Line)
    line = 1
    rest = b""
    while True:
        block = source.read(_BLOCK_BYTES)
        if progress is not None:
            progress(len(block))
        cut = block.rfind(b"\n") + 1 if block else 0
        if block and not cut:
            rest += block
            continue
        text = rest + block[:cut]
        rest = block[cut:]
        if text:
            _read_block(decoder, text, line, history)
            line += text.count(b"\n")
        if not block:
            return


def _read_block(decoder: "msgspec.json.Decoder[_Line]", text: bytes, line: int, history: History) -> None:
    try:
        objects = decoder.decode_lines(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        objects = []
    lines: Iterable[int] = range(line, line + len(objects))
    if len(objects) != text.count(b"\n") + (not text.endswith(b"\n")):
        # Blank lines, or one that is wrong.
        objects, lines = _read_singly(decoder, text, line)
    rows: dict[bytes, list[Row]] = {}
    keys: dict[str, bytes] = {}
    for at, each in zip(lines, objects, strict=True):
        try:
            if each.kind:
                name = each.key
                if name is None:
                    key = _bytes(each.key_base64, "key_base64") if each.key_base64 is not None else b""
                else:
                    known = keys.get(name)
                    if known is None:
                        known = keys[name] = _encode(name)
                    key = known
                row = _row(at, each)
                if key in rows:
                    rows[key].append(row)
                else:
                    rows[key] = [row]
            else:
                _read_other(each, history)
        except _Wrong as wrong:
            raise Unreadable(at, str(wrong)) from None
    for key, new in rows.items():
        history.extend(key, new)


def _read_singly(decoder: "msgspec.json.Decoder[_Line]", text: bytes, line: int) -> tuple[list[_Line], list[int]]:
    objects: list[_Line] = []
    lines: list[int] = []
    for at, each in enumerate(text.split(b"\n"), line):
        if not each.strip():
            continue
        try:
            objects.append(decoder.decode(each))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            expected = "expected one JSON object, an operation or a fault"
            raise Unreadable(at, f"{expected}: {error}") from None
        lines.append(at)
    return objects, lines


def _row(number: int, line: _Line) -> Row:
    kind = KIND_NUMBERS.get(line.kind)
    if kind is None:
        raise _Wrong(f'kind is "{line.kind}", expected one of {", ".join(KIND_NUMBERS)}')
    client, start, finish = line.client, line.start, line.finish
    if client is None:
        raise _Wrong('"client" is missing: who called')
    if start is None:
        raise _Wrong('"start" is missing: when it was called, in seconds')
    if line.outcome is None:
        outcome = UNKNOWN if finish is None else OK
    else:
        known = OUTCOME_NUMBERS.get(line.outcome)
        if known is None:
            raise _Wrong(f'outcome is "{line.outcome}", expected one of {", ".join(OUTCOME_NUMBERS)}')
        outcome = known
    if outcome == UNKNOWN:
        finish = math.inf
    elif finish is None:
        raise _Wrong(f'"finish" is missing, without which the outcome must be unknown and not {line.outcome}')
    elif finish < start:
        raise _Wrong(f"it finishes at {finish:g}, before it starts at {start:g}")
    argument: Argument = None
    condition: Argument = None
    # What a line demands or writes in words of another kind would not be judged.
    if kind != CAS and (line.expected or line.expected_base64):
        raise _Wrong(f'"expected" belongs to cas, not to {line.kind}')
    if line.by and kind != INCR:
        raise _Wrong(f'"by" belongs to incr, not to {line.kind}')
    if line.if_version is not None and kind not in (PUT, DELETE):
        raise _Wrong(f'"if_version" belongs to put and delete, not to {line.kind}')
    if kind in _WITHOUT_VALUE and (line.value or line.value_base64):
        raise _Wrong(f'"value" does not belong to {line.kind}{_WITHOUT_VALUE[kind]}')
    if kind != GET:
        if kind == INCR:
            argument = 1 if line.by is UNSET else line.by
        elif kind != DELETE:
            argument = _value(line.value, line.value_base64, "value")
            if argument is None:
                raise _Wrong(f'"value" is missing or null: what to {line.kind}')
        if kind == CAS:
            if line.expected is UNSET and line.expected_base64 is UNSET:
                raise _Wrong('"expected" is missing: what cas expects the key to hold, null if it expects none')
            condition = _value(line.expected, line.expected_base64, "expected")
        elif line.if_version is not None:
            if line.if_version < 0:
                raise _Wrong('"if_version" must not be negative')
            condition = line.if_version
    result: Answer = None
    version = None
    if outcome not in (UNKNOWN, FAILED):
        version = line.version
        if version is not None and version < 0:
            raise _Wrong('"version" must not be negative')
        result = _result(kind, outcome, condition, line)
    return number, client, kind, start, finish, outcome, argument, condition, result, version


def _result(kind: int, outcome: int, condition: Argument, line: _Line) -> Answer:
    if outcome == OK and kind in (PUT, CAS):
        return None
    told = line.result is not UNSET or line.result_base64 is not UNSET
    if outcome == OK and kind in (DELETE, INCR, APPEND):
        result = line.result
        if not told or result is None:
            return None
        if kind == DELETE and isinstance(result, bool):
            return result
        if kind != DELETE and isinstance(result, int) and not isinstance(result, bool):
            return result
        wanted = {DELETE: "true or false: whether the key was there", INCR: "the number after", APPEND: "the length"}
        raise _Wrong(f'the "result" of {line.kind} must be {wanted[kind]}')
    if not told:
        what = {GET: "the value, null if there was none", SWAP: "the value before, null if there was none"}
        raise _Wrong(f'"result" is missing: {what.get(kind, "the value that was found, null if there was none")}')
    if outcome != OK:
        if kind not in REFUSALS[outcome]:
            raise _Wrong(f'"{line.kind}" cannot have the outcome "{line.outcome}"')
        if outcome == CONDITION_FAILED and kind != CAS and condition is None:
            raise _Wrong(f'{line.kind} without "if_version" has no condition that could fail')
    result = line.result
    if isinstance(result, int):
        raise _Wrong(f'the "result" of {line.kind} must be text or null')
    return _value(result, line.result_base64, "result")


def _value(text: str | UnsetType | None, encoded: str | UnsetType, name: str) -> Value:
    if isinstance(text, str):
        return text.encode() if text.isascii() else _encode(text)
    return None if isinstance(encoded, UnsetType) else _bytes(encoded, f"{name}_base64")


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _Wrong(f"{text!r} is no text; give its bytes in base64") from None


def _bytes(encoded: str, name: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise _Wrong(f'"{name}" is not base64') from None


def _read_other(line: _Line, history: History) -> None:
    if line.fault is not None:
        if line.start is None:
            raise _Wrong('"start" of the fault is missing: since when, in seconds')
        history.faults.append(Fault(line.fault, line.start, line.finish, line.node, line.text))
    elif line.initial is not UNSET or line.initial_base64 is not UNSET:
        key = _encode(line.key) if line.key is not None else b""
        if line.key_base64 is not None:
            key = _bytes(line.key_base64, "key_base64")
        value = _value(line.initial, line.initial_base64, "initial")
        if line.version is not None and (line.version < 0 or (line.version == 0 and value is not None)):
            raise _Wrong(f'"version" must not be {line.version}{"" if value is None else " where the key is there"}')
        if history.initial.setdefault(key, (value, line.version)) != (value, line.version):
            raise _Wrong("another line says that the key held something else before the history; is it two histories?")
    else:
        raise _Wrong('expected "kind" (an operation), "fault" or "initial"')


# Writing.


def line_of_operation(operation: Operation, **more: Any) -> str:
    """An operation as a line, without its end."""
    fields: dict[str, Any] = {"client": operation.client, "kind": operation.kind, **_text("key", operation.key)}
    if isinstance(operation.argument, int):
        fields["by"] = operation.argument
    elif operation.argument is not None:
        fields |= _text("value", operation.argument)
    if operation.kind == "cas":
        assert not isinstance(operation.condition, int)
        fields |= _text("expected", operation.condition)
    elif operation.condition is not None:
        fields["if_version"] = operation.condition
    fields |= {"start": operation.start, "finish": operation.finish, "outcome": operation.outcome}
    if operation.outcome not in ("failed", "unknown"):
        if isinstance(operation.result, int):
            fields["result"] = operation.result
        elif operation.outcome != "ok" or operation.kind in ("get", "swap"):
            fields |= _text("result", operation.result)
        if operation.version is not None:
            fields["version"] = operation.version
    return json.dumps(fields | more, ensure_ascii=False)


def line_of_fault(fault: Fault) -> str:
    """A fault as a line, without its end."""
    fields: dict[str, Any] = {"fault": fault.kind, "node": fault.node, "start": fault.start, "finish": fault.finish}
    return json.dumps(fields | ({"text": fault.text} if fault.text else {}), ensure_ascii=False)


def line_of_initial(key: bytes, value: Value, version: int | None) -> str:
    """What a key held before the history, as a line without its end."""
    fields = {**_text("key", key), **_text("initial", value)}
    return json.dumps(fields | ({} if version is None else {"version": version}), ensure_ascii=False)


def write(history: History, target: TextIO) -> None:
    """Write a history to a text stream, whose encoding should be UTF-8 and whose newlines are left alone."""
    for key, (value, version) in history.initial.items():
        target.write(line_of_initial(key, value, version) + "\n")
    for fault in history.faults:
        target.write(line_of_fault(fault) + "\n")
    for operation in history:
        target.write(line_of_operation(operation) + "\n")


def write_jsonl(path: str | os.PathLike[str], history: History) -> None:
    """Write a history to a file."""
    with open(path, "w", encoding="utf-8", newline="\n") as target:
        write(history, target)


def _text(name: str, value: Value) -> dict[str, str | None]:
    """A value as text, or in base64 where it is none."""
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}
