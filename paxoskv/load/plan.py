"""What a load is, and what came of it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from paxoskv.load.histogram import Histogram
from paxoskv.load.timeline import Timeline


@dataclass(slots=True)
class Plan:
    """What to do. `rate` is in operations per second for all clients together, 0 for closed loops."""

    endpoints: list[str]
    clients: int = 256
    duration_s: float = 10.0
    warmup_s: float = 0.0
    keys: int = 10_000
    value_size: int = 64
    read_ratio: float = 0.0
    distribution: str = "uniform"
    op: str = "put"
    """put, incr or rmw for what is not a get; scan: scans in place of gets, and inserts of new keys."""
    scan_length: int = 100
    """Keys that the longest scan wants; each wants from 1 to so many, uniformly."""
    route: str = "key"
    rate: float = 0.0
    seed: int = 0
    prefix: str = "bench/"
    load: bool = True
    """Write every key once before anything is measured."""
    timeout_s: float = 5.0
    timeline: bool = False
    """Keep what happened in every 10 ms, and the longest gap of each client."""
    part: int = 0
    """Which of `parts` processes this is, so that sequential keys are divided over them."""
    parts: int = 1


@dataclass(slots=True)
class Outcome:
    """What came of it; of one process, or of several merged.

    Operations count that were answered while it was measured; increments count always, because a counter does.
    """

    histogram: Histogram = field(default_factory=Histogram)
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    coordinators: Counter[str] = field(default_factory=Counter)
    acknowledged_increments: int = 0
    unknown_increments: int = 0
    longest_gap_s: float = 0.0
    """Between two successes of one client; in an open loop, of all together."""
    began_unix: float = 0.0
    """When the measurement began, by the wall's clock."""
    timeline: Timeline | None = None
    scans: int = 0
    scanned_keys: int = 0
    """How many keys those scans found."""
    gaps_s: list[float] = field(default_factory=list)
    """The longest gap of each client, if there is a timeline; none in an open loop."""

    def merge(self, other: "Outcome") -> None:
        """Add what another process measured in the same time."""
        self.histogram.merge(other.histogram.counts, other.histogram.max_us)
        self.seconds = max(self.seconds, other.seconds)
        self.errors += other.errors
        self.unknown += other.unknown
        self.coordinators += other.coordinators
        self.acknowledged_increments += other.acknowledged_increments
        self.unknown_increments += other.unknown_increments
        self.longest_gap_s = max(self.longest_gap_s, other.longest_gap_s)
        self.scans += other.scans
        self.scanned_keys += other.scanned_keys
        self.gaps_s += other.gaps_s
        self.began_unix = other.began_unix if not self.began_unix else min(self.began_unix, other.began_unix)
        if other.timeline is not None:
            self.timeline = self.timeline or Timeline()
            self.timeline.merge(other.timeline)

    def to_json(self) -> dict[str, Any]:
        """The documented keys of ``paxoskv bench --json``."""
        histogram = self.histogram
        result: dict[str, Any] = {
            "ops_per_s": round(histogram.total / self.seconds, 1) if self.seconds else 0.0,
            "p50_ms": round(histogram.percentile_ms(50), 3),
            "p90_ms": round(histogram.percentile_ms(90), 3),
            "p99_ms": round(histogram.percentile_ms(99), 3),
            "p999_ms": round(histogram.percentile_ms(99.9), 3),
            "max_ms": histogram.max_us / 1000,
            "errors": dict(sorted(self.errors.items())),
            "unknown": self.unknown,
            "operations": histogram.total,
            "duration_s": round(self.seconds, 3),
            "longest_gap_ms": round(self.longest_gap_s * 1000, 3),
            "coordinators": dict(sorted(self.coordinators.items())),
        }
        if self.scans:
            result["keys_per_scan"] = round(self.scanned_keys / self.scans, 2)
        if self.timeline is not None:
            result["began_unix"] = self.began_unix
            result["timeline"] = self.timeline.to_json()
            result["gaps_ms"] = [round(gap * 1000, 1) for gap in self.gaps_s]
        return result
