"""Records what clients call and are answered, for tests of any store."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final

from paxoskv.check.history import (
    KIND_NUMBERS,
    OUTCOME_NUMBERS,
    REFUSALS,
    Answer,
    Argument,
    Fault,
    History,
    Operation,
    Value,
)

Data = bytes | bytearray | memoryview | str


class _Unset:
    pass


_UNSET: Final = _Unset()


class Call:
    """One call that is under way: `with`, or `async with`, from just before it is sent until it is answered.

    Say what came of it with one of the methods. Left without a word, or by an exception, it may or may not have
    happened; reads that end so prove nothing and do no harm.
    """

    def __init__(self, recorder: "Recorder", operation: Operation) -> None:
        self._recorder = recorder
        self._operation = operation
        self._outcome = "unknown"
        self._result: Answer = None
        self._version: int | None = None
        self._finish: float | None = None
        self._inside = False

    def __enter__(self) -> "Call":
        self._inside = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inside = False
        self._recorder._done(self._operation, self._outcome, self._finish, self._result, self._version)

    async def __aenter__(self) -> "Call":
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def returned(self, result: Data | int | bool | None = None, *, version: int | None = None) -> None:
        """It was answered. `result`, by kind: get, the value, None if there was none; swap, the value before; delete,
        whether the key was there; incr, the number after; append, the length after; the last three may be left out.
        `version`: the key's version after it, where the store tells one that grows with every change; 0: it is absent.
        """
        kind = self._operation.kind
        answer: Answer = None
        if kind in ("get", "swap"):
            answer = _value(result, f"what {kind} returns")
        elif kind == "delete" and not (result is None or isinstance(result, bool)):
            raise TypeError(f"delete returns whether the key was there, not {result!r}")
        elif kind in ("incr", "append") and (isinstance(result, bool) or not isinstance(result, int | None)):
            raise TypeError(f"{kind} returns a number, not {result!r}")
        elif isinstance(result, int) and kind not in ("put", "cas"):
            answer = result
        self._say("ok", answer, version)

    def refused(self, found: Data | None, *, version: int | None = None, because: str = "condition-failed") -> None:
        """The store looked and left the key as it was, telling what it `found`. `because`: "condition-failed",
        "not-an-integer", "integer-overflow" or "value-too-large". A store that does not tell what it found: `failed`.
        """
        refused = REFUSALS.get(OUTCOME_NUMBERS.get(because, -1))
        if refused is None:
            raise ValueError(f"{because!r} is no reason for a refusal")
        kind = self._operation.kind
        if KIND_NUMBERS[kind] not in refused:
            raise ValueError(f"{kind} is not refused because of {because}; call.failed() says that it did not happen")
        if because == "condition-failed" and kind != "cas" and self._operation.condition is None:
            raise ValueError(f"{kind} was called without if_version, so it has no condition that could fail")
        self._say(because, _value(found, "what was found"), version)

    def failed(self) -> None:
        """It certainly did not happen and never will, and nothing was learnt."""
        self._say("failed", None, None)

    def _say(self, outcome: str, result: Answer, version: int | None) -> None:
        finish = self._recorder.now()
        if not self._inside:
            # Nobody would hear it, and a call that was never answered proves nothing.
            raise RuntimeError("what came of a call must be said inside of its block: with history.call(...) as call")
        self._version = _version(version, "version")
        self._finish, self._outcome, self._result = finish, outcome, result


class Recorder:
    """A history in the making. Safe for threads and for tasks; times are seconds since it was made.

    Recording a call costs a few microseconds. One process only: the clock is this one's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._origin = clock()
        self._lock = threading.Lock()
        self._operations: list[Operation] = []
        self._faults: list[Fault] = []
        self._initial: dict[bytes, tuple[Value, int | None]] = {}
        self._open: dict[int, Operation] = {}
        self._opened = 0

    def now(self) -> float:
        """Seconds since this recorder was made."""
        return self._clock() - self._origin

    def call(
        self,
        *,
        client: int | str,
        kind: str,
        key: Data = b"",
        value: Data | None = None,
        expected: "Data | _Unset | None" = _UNSET,
        by: int | None = None,
        if_version: int | None = None,
    ) -> Call:
        """A call that begins now.

        `kind` is get, put, delete, cas, incr, append or swap; `value`, what put, cas and swap set and append appends;
        `expected`, what cas expects (None: nothing); `by`, what incr adds, 1 if not given; `if_version`, the version
        that put or delete demands (0: the key must be absent). A client may have several calls under way.
        """
        if kind not in KIND_NUMBERS:
            raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KIND_NUMBERS)}")
        argument: Argument = None
        condition: Argument
        if kind in ("put", "cas", "swap", "append"):
            if value is None:
                raise ValueError(f"{kind} needs a value")
            argument = _bytes(value, "value")
        elif kind == "incr":
            argument = 1 if by is None else by
            if isinstance(argument, bool) or not isinstance(argument, int):
                raise TypeError(f"by must be an integer, not {by!r}")
        if (value is not None) != (kind in ("put", "cas", "swap", "append")):
            raise ValueError(f"{kind} takes no value")
        if (by is not None) and kind != "incr":
            raise ValueError(f"{kind} takes no number to add")
        if isinstance(expected, _Unset) == (kind == "cas"):
            raise ValueError("cas needs what it expects, and nothing else does")
        if if_version is not None and kind not in ("put", "delete"):
            raise ValueError(f"{kind} takes no version")
        if isinstance(expected, _Unset):
            condition = _version(if_version, "if_version")
        else:
            condition = _value(expected, "expected")
        place = _bytes(key, "key")
        _check_name(client, "client")
        with self._lock:
            self._opened += 1
            number = self._opened
            operation = Operation(number, client, kind, place, self.now(), None, "unknown", argument, condition)
            self._open[number] = operation
        return Call(self, operation)

    def _done(
        self, operation: Operation, outcome: str, finish: float | None, result: Answer, version: int | None
    ) -> None:
        with self._lock:
            if self._open.pop(operation.number, None) is None:
                raise RuntimeError("a call was left twice")
            self._operations.append(
                Operation(
                    operation.number,
                    operation.client,
                    operation.kind,
                    operation.key,
                    operation.start,
                    finish,
                    outcome,
                    operation.argument,
                    operation.condition,
                    result,
                    version,
                )
            )

    @contextlib.contextmanager
    def fault(self, kind: str, node: int | str | None = None, text: str = "") -> Iterator[None]:
        """Something is broken on purpose meanwhile; only reports show it."""
        if node is not None:
            _check_name(node, "node")
        _bytes(kind, "the kind of a fault")
        _bytes(text, "the text of a fault")
        start = self.now()
        try:
            yield
        finally:
            with self._lock:
                self._faults.append(Fault(kind, start, self.now(), node, text))

    def initially(self, key: Data, value: Data | None, version: int | None = None) -> None:
        """What a key held before the first call, if not nothing."""
        held = _value(value, "value")
        if held is not None and version == 0:
            raise ValueError("version must not be 0 where the key is there; leave it out if the store tells none")
        self._initial[_bytes(key, "key")] = held, _version(version, "version")

    def history(self) -> History:
        """What was recorded so far. A call that is still under way counts as one that was never answered."""
        with self._lock:
            recorded = [*self._operations, *self._open.values()]
            recorded.sort(key=lambda operation: operation.number)
            history = History(recorded, self._faults)
            history.initial.update(self._initial)
        return history


# Refused where they are said, or they would be noticed only when the history is checked or written, if at all.


def _bytes(data: object, what: str) -> bytes:
    """Data as they are now: a bytearray may change later."""
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} is {data!r}, which cannot be encoded as UTF-8; give bytes") from None
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"{what} must be bytes or text, not {data!r}")


def _value(data: object, what: str) -> Value:
    if isinstance(data, str | bytes | bytearray | memoryview):
        return _bytes(data, what)
    if data is not None:
        raise TypeError(f"{what} must be bytes, text or None, not {data!r}")
    return None


def _version(version: object, what: str) -> int | None:
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise TypeError(f"{what} must be an integer, not {version!r}")
    if version is not None and version < 0:
        raise ValueError(f"{what} must not be negative, but is {version}")
    return version


def _check_name(name: object, what: str) -> None:
    if isinstance(name, str):
        _bytes(name, what)
    elif isinstance(name, bool) or not isinstance(name, int):
        raise TypeError(f"{what} must be a number or a text, not {name!r}")
