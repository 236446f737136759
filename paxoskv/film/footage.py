"""From trace files to reels: which files belong together, and what of them is wanted."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from paxoskv.film.reel import EVENTS_MAX, Cut, Reel, make_reel
from paxoskv.trace import merging, reading
from paxoskv.trace.reading import NotATrace


def make_reels(
    paths: Sequence[Path],
    cut: Cut,
    events_max: int = EVENTS_MAX,
    progress: Callable[[int], object] = lambda count: None,
) -> list[Reel]:
    """A reel for each trace, in the order of the files; those that live nodes of one cluster wrote make one together.

    Raises NotATrace.
    """
    clusters: dict[Any, list[Path]] = {}
    for number, path in enumerate(paths):
        begin = next(reading.read(path))
        # What was merged already, and what was simulated, is a film of its own.
        alone = begin["source"] != "live" or "node" not in begin
        clusters.setdefault(number if alone else (begin.get("cluster"), begin["mode"]), []).append(path)
    reels = []
    for cluster, files in clusters.items():
        if isinstance(cluster, int):
            events = reading.read(files[0], progress)
        else:
            events = iter(merging.merge([reading.read(path, progress) for path in files]))
        reel = make_reel(events, cut, events_max)
        if not reel.events:
            names = ", ".join(map(str, files))
            raise NotATrace(f"nothing of {names} is left to show: {why_empty(cut)}")
        reels.append(reel)
    return reels


def why_empty(cut: Cut) -> str:
    """Of a film without events."""
    asked = chain(
        [] if cut.start is None else [f"--from {cut.start:g}"],
        [] if cut.end is None else [f"--to {cut.end:g}"],
        [] if cut.keys is None else [f"--key {key}" for key in sorted(cut.keys)],
    )
    words = " ".join(asked)
    return f"no event is within {words}" if words else "it has no events"
