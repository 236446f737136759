"""The figures at the top of the repository's README, from the results, so that neither can be newer than the other."""

from collections.abc import Callable
from typing import Any, Final

from comparison.results import Results
from comparison.scenarios.contract import number, significant, silence, table
from comparison.scenarios.throughput import THROUGH_ONE, by_clients

_SYSTEMS: Final = {"leaderless": "leaderless", "raft": "Raft mode", "etcd": "etcd"}
_WRITES: Final[dict[str, Any]] = {"mix": "writes", "clients": 256}
# Of what is asked: in words, in the results (scenario, figure, point), and how the answer is shown.
_OVERVIEW: Final[tuple[tuple[str, str, str, dict[str, Any], Callable[[float | None], str]], ...]] = (
    ("writes a second, 256 clients", "throughput", "ops_per_s", _WRITES, number),
    ("linearizable reads a second, 256 clients", "throughput", "ops_per_s", _WRITES | {"mix": "reads"}, number),
    (
        "increments of one key a second, 256 clients through all nodes",
        *("hot-key", "ops_per_s", {"nodes": 3, "clients": 256}, number),
    ),
    ("one client's write, median, ms", "throughput", "p50_ms", _WRITES | {"clients": 1}, significant),
    (
        "nobody is answered after a node, the leader if there is one, is killed, ms",
        *("failure", "nobody_ms", {"fault": "kill"}, silence),
    ),
    ("after its disk hangs, ms", "failure", "nobody_ms", {"fault": "stall"}, silence),
)
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


def rewritten(readme: str, results: Results) -> str:
    """A README whose tables are those of the results. Each stands between a pair of comments with its name."""
    for name, made in (("overview", _overview(results)), ("by clients", _by_clients(results))):
        before, rest = readme.split(f"<!-- {name} -->\n")
        _, after = rest.split(f"<!-- /{name} -->\n")
        readme = f"{before}<!-- {name} -->\n{made}\n<!-- /{name} -->\n{after}"
    return readme


def _overview(results: Results) -> str:
    rows = [
        [text, *(show(results.median(scenario, system, figure, **point)) for system in _SYSTEMS)]
        for text, scenario, figure, point, show in _OVERVIEW
    ]
    return table(["", *_SYSTEMS.values()], rows)


def _by_clients(results: Results) -> str:
    clients = results.points("throughput", "clients", mix="writes")
    rows = [
        [title, *(number(results.median("throughput", system, "ops_per_s", mix=mix, clients=n)) for n in clients)]
        for system, mix, title in _ROWS
    ]
    return by_clients(clients, rows)
