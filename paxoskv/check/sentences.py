"""Operations and values, in words."""

from paxoskv.check.history import APPEND, CAS, DELETE, FAILED, GET, INCR, KINDS, OK, PUT, SWAP, UNKNOWN, Columns, Value

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


def seconds(time: float, unit: str = "s") -> str:
    """A time, to the microsecond where there is something to show beyond the millisecond."""
    if unit == "line":
        return f"line {time:g}"
    text = f"{time:.6f}"
    return (text[:-3] if text.endswith("000") else text) + " s"


class Speaker:
    """Says what the operations of one key did."""

    def __init__(self, columns: Columns, unit: str = "s") -> None:
        self._columns = columns
        self._unit = unit

    def when(self, row: int) -> str:
        """From when until when an operation ran."""
        columns = self._columns
        start = seconds(columns.starts[row], self._unit)
        if columns.outcomes[row] == UNKNOWN:
            return f"from {start} on, outcome unknown"
        finish = seconds(columns.finishes[row], self._unit)
        if self._unit == "line":
            return f"lines {columns.starts[row]:g} to {columns.finishes[row]:g}"
        return f"{start.removesuffix(' s')} to {finish}"

    def what(self, row: int) -> str:
        """The call, without its answer."""
        columns = self._columns
        kind, argument, condition = columns.kinds[row], columns.arguments[row], columns.conditions[row]
        name = KINDS[kind]
        if kind in (GET, DELETE):
            text = name
        elif kind == CAS:
            assert not isinstance(condition, int)
            assert not isinstance(argument, int)
            text = f"cas {quote(condition)} to {quote(argument)}"
        elif kind == INCR:
            assert isinstance(argument, int)
            text = f"incr by {argument}"
        else:
            assert not isinstance(argument, int)
            text = f"{name} {quote(argument)}"
        if kind in (PUT, DELETE) and condition is not None:
            assert isinstance(condition, int)
            text += " if absent" if condition == 0 else f" if version {condition}"
        return text

    def who(self, row: int) -> str:
        """The call, by whom and when: what a person needs to find it."""
        return f"{self.what(row)} by client {self._columns.clients[row]} ({self.when(row)})"

    def time(self, time: float) -> str:
        """A moment."""
        return seconds(time, self._unit)

    def answer(self, row: int) -> str:
        """What an operation was answered, as a verb with its object."""
        columns = self._columns
        kind, result, version = columns.kinds[row], columns.results[row], columns.versions[row]
        outcome = columns.outcomes[row]
        at = f" at version {version}" if version else ""
        if outcome == UNKNOWN:
            return "was not answered"
        if outcome == OK:
            if kind in (INCR, APPEND) and result is not None:
                assert isinstance(result, int)
                return f"returned {result}{at}"
            if kind == DELETE:
                return "found nothing" if result is False else "removed the key"
            if kind in (GET, SWAP):
                assert not isinstance(result, int)
                if result is None and kind == GET:
                    return "found nothing"
                return f"returned {quote(result)}{at}"
            return f"succeeded{at}"
        if outcome == FAILED:
            return "failed"
        assert not isinstance(result, int)
        return f"was refused, finding {quote(result)}{at}"

    def saw(self, row: int) -> str:
        """Who and answer in one."""
        return f"{self.who(row)} {self.answer(row)}"
