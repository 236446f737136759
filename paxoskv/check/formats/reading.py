"""Reads a history, whatever it is written in."""

import io
import re
from typing import BinaryIO, Final

from paxoskv.check.formats import jepsen, jsonl
from paxoskv.check.formats.jsonl import Progress
from paxoskv.check.formats.unreadable import Unreadable
from paxoskv.check.history import APPEND, GET, INCR, KINDS, ROWS_MAX, History, Value

FORMATS: Final = ("auto", "jsonl", "jepsen-edn", "jepsen-log")
MODELS: Final = ("auto", "register", "counter", "append")

_SNIFF_BYTES: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_LOG: Final = re.compile(rb"jepsen\.util\b|^(?:\d+|:\w+)\t:(?:invoke|ok|fail|info)\t", re.MULTILINE)
_JSON: Final = re.compile(rb'\s*\{\s*(?:"|\})')
_EDN: Final = re.compile(
    rb"[\s,]*(?:;[^\n]*\n\s*)*[\[(]?[\s,]*(?:;[^\n]*\n\s*)*(?:(?:#[A-Za-z][\w.]*)?\s*\{\s*:|[\])])"
)
_JSON_ARRAY: Final = re.compile(rb"\s*\[\s*\{\s*\"")
_COMPRESSED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh")
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_REST: Final = {"counter": (GET, INCR), "append": (GET, APPEND)}


def read(
    source: BinaryIO,
    *,
    format: str = "auto",
    model: str = "auto",
    initial: Value = None,
    rows_max: int = ROWS_MAX,
    progress: Progress | None = None,
) -> History:
    """The history in a stream of bytes.

    `format` and `model` are one of FORMATS and MODELS. `initial` is what every key held at first, where the format has
    no words for that. `progress` is told of bytes as they are read. Raises Unreadable.
    """
    for name, given, known in (("format", format, FORMATS), ("model", model, MODELS)):
        if given not in known:
            raise ValueError(f"{name} is {given!r}; it must be one of {', '.join(known)}")
    history = History(rows_max=rows_max)
    head = source.read(_SNIFF_BYTES).removeprefix(_BOM)
    stream: BinaryIO = io.BufferedReader(_Joined(head, source))
    if format == "auto":
        format = _recognise(head)
    if format == "jsonl":
        jsonl.read(stream, history, progress)
        _refuse_emptiness(history)
        if model != "auto":
            _check_model(history, model)
        if initial is not None:
            for key in history.keys:
                history.initial.setdefault(key, (initial, None))
        return history
    data = stream.read()
    if progress is not None:
        progress(len(data))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(data.count(b"\n", 0, error.start) + 1, "not UTF-8") from None
    if format == "jepsen-edn":
        jepsen.read_edn(text, history, model, initial)
    else:
        jepsen.read_log(text, history, model, initial)
    _refuse_emptiness(history)
    return history


def _refuse_emptiness(history: History) -> None:
    """Nothing proves nothing: a recorder that failed must not look like a store that is right."""
    if not len(history):
        raise Unreadable(0, "the history is empty: no client did anything in it")


def _recognise(head: bytes) -> str:
    if not head.strip():
        raise Unreadable(0, "the history is empty: there is nothing in it")
    if _JSON.match(head):
        return "jsonl"
    if _EDN.match(head):
        return "jepsen-edn"
    if _LOG.search(head):
        return "jepsen-log"
    if _JSON_ARRAY.match(head):
        raise Unreadable(1, "a JSON array, expected JSON Lines: one object on each line (jq -c '.[]' makes them of it)")
    if head.startswith(_COMPRESSED):
        raise Unreadable(1, "compressed; unpack it first, as in: zcat FILE | paxoskv check -")
    if head.startswith(_UTF_16):
        raise Unreadable(1, "UTF-16, expected UTF-8; convert it first, as in: iconv -f UTF-16 -t UTF-8 FILE")
    raise Unreadable(
        1, "expected JSON Lines, a Jepsen history in EDN, or a log with lines of jepsen.util; --format says which"
    )


def _check_model(history: History, model: str) -> None:
    allowed = _REST.get(model)
    for key in history.keys:
        columns = history.columns(key)
        for number, kind in zip(columns.numbers, columns.kinds, strict=True):
            if kind in (INCR, APPEND) if allowed is None else kind not in allowed:
                raise Unreadable(number, f"{KINDS[kind]} is nothing that a {model} does")


class _Joined(io.RawIOBase):
    """What was read already, then the rest of a stream."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        if self._head:
            size = min(len(view), len(self._head))
            view[:size] = self._head[:size]
            self._head = self._head[size:]
            return size
        data = self._rest.read(len(view))
        view[: len(data)] = data
        return len(data)
