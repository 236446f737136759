"""Latencies in log-linear buckets, as HdrHistogram has them: bounded, mergeable, quantiles at most 1/64 too high."""

from collections.abc import Sequence
from typing import Final

_SUB_BITS: Final = 7
_SUB: Final = 1 << _SUB_BITS
_HALF: Final = _SUB >> 1
# 2^37 us are 38 hours.
_BUCKETS: Final = (37 - _SUB_BITS + 2) * _HALF


class Histogram:
    """Counts of latencies in microseconds."""

    __slots__ = ("counts", "max_us", "total")

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.total = 0
        self.max_us = 0

    def record(self, seconds: float) -> None:
        """Count one latency."""
        us = int(seconds * 1e6)
        if us < _SUB:
            self.counts[us if us > 0 else 0] += 1
        else:
            shift = us.bit_length() - _SUB_BITS
            index = shift * _HALF + (us >> shift)
            self.counts[index if index < _BUCKETS else _BUCKETS - 1] += 1
        self.total += 1
        if us > self.max_us:
            self.max_us = us

    def merge(self, counts: Sequence[int], max_us: int) -> None:
        """Add another histogram's counts."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, counts, strict=True)]
        self.total += sum(counts)
        self.max_us = max(self.max_us, max_us)

    def percentile_ms(self, percent: float) -> float:
        """The latency that so many percent of the operations did not exceed, in milliseconds."""
        if not self.total:
            return 0.0
        wanted = max(1, -(-self.total * percent // 100))
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen >= wanted:
                return min(_upper_us(index), self.max_us) / 1000
        return self.max_us / 1000


def _upper_us(index: int) -> int:
    """The highest value that a bucket holds."""
    if index < _SUB:
        return index
    shift = index // _HALF - 1
    return ((index - shift * _HALF + 1) << shift) - 1
