"""Quantiles from buckets against quantiles from the sorted samples."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxoskv.load.histogram import Histogram

PERCENTS = (0.001, 1, 25, 50, 90, 99, 99.9, 99.99, 100)
latencies = st.lists(st.integers(0, 10**9), min_size=1, max_size=300)


def histogram_of(samples_us: list[int]) -> Histogram:
    histogram = Histogram()
    for us in samples_us:
        histogram.record((us + 0.5) / 1e6)  # In the middle of the microsecond, where no rounding matters.
    return histogram


def exact_us(samples_us: list[int], percent: float) -> int:
    """The smallest sample that at least so many percent of the samples do not exceed."""
    ordered = sorted(samples_us)
    return next(us for rank, us in enumerate(ordered, 1) if rank * 100 >= percent * len(ordered) - 1e-6)


@given(latencies)
def test_a_quantile_is_never_below_the_exact_one_and_at_most_a_64th_above(samples_us: list[int]) -> None:
    histogram = histogram_of(samples_us)
    for percent in PERCENTS:
        exact = exact_us(samples_us, percent)
        found = histogram.percentile_ms(percent) * 1000
        assert exact <= found + 1e-6
        assert found <= exact * (1 + 1 / 64) + 1e-6


def test_below_128_microseconds_quantiles_are_exact() -> None:
    rng = random.Random(1)
    samples_us = [rng.randrange(128) for _ in range(1000)]
    histogram = histogram_of(samples_us)
    for percent in PERCENTS:
        assert histogram.percentile_ms(percent) * 1000 == pytest.approx(exact_us(samples_us, percent))


def test_one_slow_operation_in_a_thousand_is_above_p99_9_and_not_below() -> None:
    histogram = histogram_of([100] * 999 + [50_000])
    assert histogram.percentile_ms(99.9) == 0.1
    assert histogram.percentile_ms(99.91) == 50
    assert histogram.max_us == 50_000


def test_no_quantile_exceeds_the_maximum() -> None:
    histogram = histogram_of([1_000_001])
    assert histogram.percentile_ms(100) * 1000 == histogram.max_us == 1_000_001


@given(latencies, latencies)
def test_merging_is_recording_both(first: list[int], second: list[int]) -> None:
    merged, both = histogram_of(first), histogram_of(first + second)
    other = histogram_of(second)
    merged.merge(other.counts, other.max_us)
    assert (merged.counts, merged.total, merged.max_us) == (both.counts, both.total, both.max_us)


def test_nothing_recorded_is_zero() -> None:
    assert Histogram().percentile_ms(99) == 0


@pytest.mark.parametrize("seconds", [-1.0, 0.0])
def test_a_clock_that_goes_back_counts_as_no_time(seconds: float) -> None:
    histogram = Histogram()
    histogram.record(seconds)
    assert histogram.total == 1
    assert histogram.percentile_ms(100) == 0


def test_a_latency_beyond_all_buckets_is_counted_and_is_the_maximum() -> None:
    histogram = Histogram()
    histogram.record(10**7)
    assert histogram.total == sum(histogram.counts) == 1
    assert histogram.max_us == 10**13
    assert math.isfinite(histogram.percentile_ms(50))
