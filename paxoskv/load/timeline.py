"""What a load did in every 10 ms: enough to see a leader's death, little enough to keep."""

from typing import Any, Final

BIN_S: Final = 0.01


class Timeline:
    """Counts of successes and errors by when they were answered, since the measurement began."""

    __slots__ = ("errors", "ok")

    def __init__(self) -> None:
        self.ok: list[int] = []
        self.errors: list[int] = []

    def note(self, seconds: float, succeeded: bool) -> None:
        """Count one answer."""
        index = int(seconds / BIN_S)
        missing = index + 1 - len(self.ok)
        if missing > 0:
            # Both, so that they are as long as each other.
            self.ok.extend([0] * missing)
            self.errors.extend([0] * missing)
        bins = self.ok if succeeded else self.errors
        bins[index] += 1

    def merge(self, other: "Timeline") -> None:
        """Add what another process saw in the same time."""
        self.ok = _sum(self.ok, other.ok)
        self.errors = _sum(self.errors, other.errors)

    def to_json(self) -> dict[str, Any]:
        """As in ``paxoskv bench --timeline --json``."""
        return {"bin_ms": BIN_S * 1000, "ok": self.ok, "errors": self.errors}


def _sum(first: list[int], second: list[int]) -> list[int]:
    length = max(len(first), len(second))
    return [sum(pair) for pair in zip(_padded(first, length), _padded(second, length), strict=True)]


def _padded(bins: list[int], length: int) -> list[int]:
    return bins + [0] * (length - len(bins))
