"""The figures at the top of the repository's README, from the results, so that neither can be newer than the other."""

from collections.abc import Callable
from typing import Final

from comparison.results import Results
from comparison.scenarios.contract import number, significant, table
from comparison.scenarios.throughput import THROUGH_ONE

_SYSTEMS: Final = {"leaderless": "leaderless", "raft": "Raft mode", "etcd": "etcd"}
_CLIENTS: Final = (1, 16, 64, 256, 1000)
_ROWS: Final = (
    ("leaderless", "writes", "leaderless"),
    ("leaderless", THROUGH_ONE, "leaderless, all clients through one node"),
    ("leaderless-compiled", "writes", "leaderless, compiled"),
    ("leaderless-compiled", THROUGH_ONE, "leaderless, compiled, through one node"),
    ("raft", "writes", "Raft"),
    ("raft-compiled", "writes", "Raft, compiled"),
    ("etcd", "writes", "etcd 3.4"),
    ("etcd", THROUGH_ONE, "etcd 3.4, through one node, its leader"),
)


def _rate(value: float | None) -> str:
    return number(value)


def _wait(value: float | None) -> str:
    return f"{significant(value)} ms"


def _silence(value: float | None) -> str:
    # A timeline has 10 ms to a bin, so what is less was not seen.
    return "under 10 ms" if value is not None and value < 10 else f"{number(value)} ms"


def overview(results: Results) -> str:
    """The three systems beside each other."""
    rows: list[tuple[str, Callable[[float | None], str], str, str, dict[str, object]]] = [
        ("writes a second, 256 clients", _rate, "throughput", "ops_per_s", {"mix": "writes", "clients": 256}),
        (
            "linearizable reads a second, 256 clients",
            _rate,
            "throughput",
            "ops_per_s",
            {"mix": "reads", "clients": 256},
        ),
        (
            "increments of one key a second, 256 clients through all nodes",
            _rate,
            "hot-key",
            "ops_per_s",
            {"nodes": 3, "clients": 256},
        ),
        ("one client's write, median", _wait, "throughput", "p50_ms", {"mix": "writes", "clients": 1}),
        (
            "nobody is answered after a node, the leader if there is one, is killed",
            _silence,
            "failure",
            "nobody_ms",
            {"fault": "kill"},
        ),
        ("after its disk hangs", _silence, "failure", "nobody_ms", {"fault": "stall"}),
    ]
    return table(
        ["", *_SYSTEMS.values()],
        [
            [text, *(show(results.median(scenario, system, figure, **point)) for system in _SYSTEMS)]
            for text, show, scenario, figure, point in rows
        ],
    )


def by_clients(results: Results) -> str:
    """Durable writes a second by the number of clients."""
    rows = [
        [
            title,
            *(_rate(results.median("throughput", system, "ops_per_s", mix=mix, clients=count)) for count in _CLIENTS),
        ]
        for system, mix, title in _ROWS
    ]
    return table(["clients", *(f"{count:,}" for count in _CLIENTS)], rows)


def rewritten(readme: str, results: Results) -> str:
    """A README whose tables are those of the results. Each stands between a pair of comments with its name."""
    for name, made in (("overview", overview(results)), ("by clients", by_clients(results))):
        before, rest = readme.split(f"<!-- {name} -->\n")
        _, after = rest.split(f"<!-- /{name} -->\n")
        readme = f"{before}<!-- {name} -->\n{made}\n<!-- /{name} -->\n{after}"
    return readme
