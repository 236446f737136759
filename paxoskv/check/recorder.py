"""Records what clients call and are answered, for tests of any store."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final

from paxoskv.check.history import KIND_NUMBERS, OUTCOME_NUMBERS, Answer, Argument, Fault, History, Operation, Value

Data = bytes | str


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

    def __enter__(self) -> "Call":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._recorder._done(self._operation, self._outcome, self._finish, self._result, self._version)

    async def __aenter__(self) -> "Call":
        return self

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
        if kind in ("get", "swap") and isinstance(result, int):
            raise TypeError(f"{kind} returns bytes, text or None, not {result!r}")
        if kind == "delete" and not (result is None or isinstance(result, bool)):
            raise TypeError(f"delete returns whether the key was there, not {result!r}")
        if kind in ("incr", "append") and (isinstance(result, bool) or not isinstance(result, int | None)):
            raise TypeError(f"{kind} returns a number, not {result!r}")
        self._say("ok", None if kind in ("put", "cas") else result, version)

    def refused(self, found: Data | None, *, version: int | None = None, because: str = "condition-failed") -> None:
        """The store looked and left the key as it was, telling what it `found`. `because`: "condition-failed",
        "not-an-integer", "integer-overflow" or "value-too-large". A store that does not tell what it found: `failed`.
        """
        if because not in OUTCOME_NUMBERS or because in ("ok", "failed", "unknown"):
            raise ValueError(f"{because!r} is no reason for a refusal")
        self._say(because, found, version)

    def failed(self) -> None:
        """It certainly did not happen and never will, and nothing was learnt."""
        self._say("failed", None, None)

    def _say(self, outcome: str, result: Data | int | bool | None, version: int | None) -> None:
        self._finish = self._recorder.now()
        self._outcome, self._version = outcome, version
        self._result = result.encode() if isinstance(result, str) else result


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
        condition: Argument = if_version
        if kind in ("put", "cas", "swap", "append"):
            if value is None:
                raise ValueError(f"{kind} needs a value")
            argument = _bytes(value)
        elif kind == "incr":
            argument = 1 if by is None else by
        if (value is not None) != (kind in ("put", "cas", "swap", "append")):
            raise ValueError(f"{kind} takes no value")
        if (by is not None) and kind != "incr":
            raise ValueError(f"{kind} takes no number to add")
        if isinstance(expected, _Unset) == (kind == "cas"):
            raise ValueError("cas needs what it expects, and nothing else does")
        if if_version is not None and kind not in ("put", "delete"):
            raise ValueError(f"{kind} takes no version")
        if not isinstance(expected, _Unset):
            condition = None if expected is None else _bytes(expected)
        with self._lock:
            self._opened += 1
            number = self._opened
            operation = Operation(number, client, kind, _bytes(key), self.now(), None, "unknown", argument, condition)
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
        start = self.now()
        try:
            yield
        finally:
            with self._lock:
                self._faults.append(Fault(kind, start, self.now(), node, text))

    def initially(self, key: Data, value: Data | None, version: int | None = None) -> None:
        """What a key held before the first call, if not nothing."""
        self._initial[_bytes(key)] = (None if value is None else _bytes(value)), version

    def history(self) -> History:
        """What was recorded so far. A call that is still under way counts as one that was never answered."""
        with self._lock:
            recorded = [*self._operations, *self._open.values()]
            recorded.sort(key=lambda operation: operation.number)
            history = History(recorded, self._faults)
            history.initial.update(self._initial)
        return history


def _bytes(data: Data) -> bytes:
    return data.encode() if isinstance(data, str) else data
