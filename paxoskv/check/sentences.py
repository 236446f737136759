"""Operations and values, in words."""

from paxoskv.check.history import Columns, Operation, Value

_TEXT_CHARACTERS_MAX = 40


def quote(value: Value) -> str:
    """A value as people read it: quoted text, or hex for what is no text, cut where it is long."""
    if value is None:
        return "nothing"
    try:
        text = value.decode()
        shown = text if text.isprintable() else ""
    except UnicodeDecodeError:
        shown = ""
    if not shown and value:
        digits = value[: _TEXT_CHARACTERS_MAX // 2].hex()
        return f"0x{digits}" + (f"... ({len(value)} bytes)" if len(value) > _TEXT_CHARACTERS_MAX // 2 else "")
    if len(shown) > _TEXT_CHARACTERS_MAX:
        # Both ends: lists grow at the end, and that is where two of them differ.
        half = _TEXT_CHARACTERS_MAX // 2
        return f'"{shown[:half]}...{shown[-half:]}" ({len(value)} bytes)'
    return f'"{shown}"'


def name(client: int | str) -> str:
    """A client as people read it: no control characters, which a terminal would obey, and cut where it is long."""
    text = "".join(each if each.isprintable() else f"\\u{{{ord(each):x}}}" for each in str(client))
    half = _TEXT_CHARACTERS_MAX // 2
    return text if len(text) <= _TEXT_CHARACTERS_MAX else f"{text[:half]}...{text[-half:]}"


def seconds(time: float, unit: str = "s") -> str:
    """A time, to the microsecond where there is something to show beyond the millisecond."""
    if unit == "line":
        return f"line {time:g}"
    text = f"{time:.6f}"
    return (text[:-3] if text.endswith("000") else text) + " s"


def call(operation: Operation) -> str:
    """What was called, without who did and what came of it."""
    kind, argument, condition = operation.kind, operation.argument, operation.condition
    if isinstance(argument, bytes):
        if kind == "cas":
            assert not isinstance(condition, int)
            text = f"cas {quote(condition)} to {quote(argument)}"
        else:
            text = f"{kind} {quote(argument)}"
    else:
        text = f"{kind} by {argument}" if kind == "incr" else kind
    if isinstance(condition, int):
        text += f" if version {condition}" if condition else " if absent"
    return text


def answer(operation: Operation) -> str:
    """What came of it, as a verb with its object."""
    kind, result, version, outcome = operation.kind, operation.result, operation.version, operation.outcome
    condition = operation.condition
    if outcome == "unknown":
        return "was not answered"
    if outcome == "failed":
        return "failed"
    seen = result if isinstance(result, bytes) else None
    at = f" at version {version}" if version else ""
    made = f", making version {version}" if version else ""
    if outcome != "ok":
        return f"was refused, finding {quote(seen)}{at}"
    if kind == "get":
        return f"found nothing{at}" if seen is None else f"returned {quote(seen)}{at}"
    if kind == "swap":
        return f"returned {quote(seen)}{made}"
    if kind == "delete":
        if result is None and condition is None:
            return f"succeeded{at}"
        return f"found nothing{at}" if result is False else f"removed the key{made}"
    if result is not None:
        return f"returned {int(result)}{made}"
    return f"succeeded{made}"


def when(operation: Operation, unit: str = "s") -> str:
    """From when until when it ran."""
    start = seconds(operation.start, unit)
    if operation.finish is None:
        return f"from {start} on"
    if unit == "line":
        return f"lines {operation.start:g} to {operation.finish:g}"
    return f"{start.removesuffix(' s')} to {seconds(operation.finish, unit)}"


def describe(operation: Operation, unit: str = "s") -> str:
    """All of an operation but its key."""
    return f"{call(operation)} by client {name(operation.client)} ({when(operation, unit)}) {answer(operation)}"


class Speaker:
    """Says what the operations of one key did."""

    def __init__(self, columns: Columns, unit: str = "s") -> None:
        self._columns = columns
        self._unit = unit

    def who(self, row: int) -> str:
        """The call, by whom and when: what a person needs to find it."""
        operation = self._columns.operation(b"", row)
        unknown = ", outcome unknown" if operation.outcome == "unknown" else ""
        return f"{call(operation)} by client {name(operation.client)} ({when(operation, self._unit)}{unknown})"

    def saw(self, row: int) -> str:
        """That, and what came of it."""
        return describe(self._columns.operation(b"", row), self._unit)

    def time(self, time: float) -> str:
        """A moment."""
        return seconds(time, self._unit)
