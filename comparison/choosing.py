"""What somebody who chooses a store should know: sentences made from the measurements, whatever they say."""

import statistics
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from comparison.results import Results
from comparison.scenarios.contract import number, significant, silence, table

OURS: Final = "leaderless"
LOG: Final = "raft"
_REPLICATED: Final = ("leaderless", "raft", "etcd", "zookeeper", "gryadka", "pysyncobj")
_COMPILED: Final = ("leaderless-compiled", "raft-compiled")
_DURABLE: Final = (*_COMPILED, "leaderless", "raft", "etcd", "zookeeper", "gryadka")
_NOTABLE: Final = 1.05
"""A ratio beyond which a difference is more than the spread of repeats."""


def sentences(results: Results) -> str:
    """Five of them, fewer where something was not measured."""
    found = [sentence(results) for sentence in (_speed, _few, _death, _hot_key, _distance)]
    told = [sentence for sentence in found if sentence]
    if not told:
        return ""
    return "\n".join(["If you are choosing a store, five things to know:", "", *(f"1. {text}" for text in told)])


def _ranked(results: Results, names: tuple[str, ...], value: Callable[[str], float | None]) -> list[tuple[str, float]]:
    """Systems that were measured, the highest value first."""
    known = results.about.get("systems", {})
    pairs = [(name, value(name)) for name in names if name in known]
    return sorted([(name, found) for name, found in pairs if found is not None], key=lambda pair: -pair[1])


def _listed(results: Results, pairs: list[tuple[str, float]], unit: str = "") -> str:
    return ", ".join(f"{results.title(name)} {significant(value)}{unit}" for name, value in pairs)


def _speed(results: Results) -> str:
    clients = [count for count in results.points("throughput", "clients", mix="writes") if count >= 64]
    if not clients:
        return ""
    count = 256 if 256 in clients else clients[-1]

    def speed(mix: str) -> Callable[[str], float | None]:
        return lambda name: results.median("throughput", name, "ops_per_s", mix=mix, clients=count)

    writes, reads = _ranked(results, _DURABLE, speed("writes")), _ranked(results, _DURABLE, speed("reads"))
    if not writes:
        return ""
    text = f"**Many clients write most with {_first(results, writes)}.** {count} of them get so many durable writes a "
    text += f"second: {_listed(results, writes)}"
    if reads:
        text += f"; and linearizable reads (ZooKeeper's are weaker): {_listed(results, reads)}"
    return text + "."


def _few(results: Results) -> str:
    def wait(name: str) -> float | None:
        return results.median("throughput", name, "p50_ms", mix="writes", clients=1)

    waits = _ranked(results, _DURABLE, wait)[::-1]
    if not waits:
        return ""
    text = f"**A lonely client waits least with {_first(results, waits)}.** A write takes, in the median: "
    return text + _listed(results, waits, " ms") + "."


def _death(results: Results) -> str:
    parts, best = [], ""
    for fault, words in (("kill", "is killed"), ("stall", "has a disk that hangs")):

        def nobody_ms(name: str, fault: str = fault) -> float | None:
            return results.median("failure", name, "nobody_ms", fault=fault)

        silences = _ranked(results, _REPLICATED, nobody_ms)[::-1]
        if silences:
            best = best or _first(results, silences)
            shown = [f"{results.title(name)} {silence(value)} ms" for name, value in silences]
            parts.append(f"{words}: {', '.join(shown)}")
    if not parts:
        return ""
    return (
        f"**When a node dies, silence is shortest with {best}.** For so long nobody at all gets an answer when a node, "
        "the leader where there is one, " + "; when it ".join(parts) + "."
    )


def _hot_key(results: Results) -> str:
    counts = results.points("hot-key", "clients", nodes=3)
    if not counts:
        return ""

    def speed(name: str) -> float | None:
        return results.median("hot-key", name, "ops_per_s", nodes=3, clients=counts[-1])

    speeds = _ranked(results, _REPLICATED, speed)
    if not speeds:
        return ""
    text = f"**A hot key goes fastest with {_first(results, speeds)}.** {counts[-1]} clients that increment it through "
    return text + f"all nodes get so many a second: {_listed(results, speeds)}."


def _first(results: Results, pairs: list[tuple[str, float]]) -> str:
    return results.title(pairs[0][0])


def _distance(results: Results) -> str:
    parts, best = [], []
    fixed: dict[str, None] = {}
    for kind, words in (("own", "its own key"), ("shared", "a key that all regions increment")):
        waits, starved = [], []
        for name in _REPLICATED:
            if name not in results.about.get("systems", {}):
                continue
            # With a leader where it was best placed for these clients.
            by_leader: dict[int | None, list[float]] = {}
            for record in results.select("wide-area", name, kind=kind):
                middles = [record["data"][f"p50_ms_{region}"] for region in (1, 2, 3)]
                if None not in middles:
                    by_leader.setdefault(record["point"]["leader"], []).append(statistics.mean(middles))
                elif name not in starved:
                    starved.append(name)
            if len(by_leader) == 1 and None not in by_leader:
                fixed[results.title(name)] = None
            if by_leader:
                waits.append((name, min(statistics.median(values) for values in by_leader.values())))
        waits.sort(key=lambda pair: pair[1])
        if waits:
            best.append(_first(results, waits))
            parts.append(f"for {words}: {_listed(results, waits, ' ms')}")
            without = [results.title(name) for name in starved if name not in dict(waits)]
            if without:
                parts[-1] += f", while some regions' clients never got through in {' and '.join(without)}"
    if not parts:
        return ""
    placed = f" ({' and '.join(fixed)} had theirs in one place only)" if fixed else ""
    shared = f", and for a key of all regions with {best[1]}" if len(best) > 1 else ""
    return (
        f"**Over distance a client waits least for its own key with {best[0]}{shared}.** In three regions, up to "
        "189 ms apart, it waits, in the mean over the regions and with the leader where it was best placed"
        f"{placed}, " + "; ".join(parts) + "."
    )


class Win(NamedTuple):
    """Where the log is ahead of the leaderless mode."""

    what: str
    log: float
    ours: float
    reason: str

    @property
    def factor(self) -> float:
        """How many times better."""
        return max(self.log, self.ours) / max(1e-9, min(self.log, self.ours))


_REASONS: Final = {
    "throughput": "one entry holds a whole turn's writes, whatever their keys: fewer bytes and less work for a write "
    "than a register for each key",
    "reads": "a leader that confirmed its term answers many reads at once from its own memory, where a leaderless read "
    "asks a majority for each key's version",
    "hot key": "the leader orders one key's operations without asking who holds the key, so three coordinators do not "
    "hand it to each other",
    "wide area": "a leader close by, or a key that all regions want: the log has one place where they meet",
    "bytes": "an entry carries a value once, without the bookkeeping of a register",
}


def wins(results: Results) -> Iterator[Win]:
    """Measured points at which paxoskv's Raft mode is notably better than its leaderless mode."""
    for mix in results.points("throughput", "mix"):
        for clients in results.points("throughput", "clients", mix=mix):
            yield from _compare(
                results,
                "throughput",
                "ops_per_s",
                f"{mix}/s, {clients:,} client{'s' * (clients > 1)}",
                "reads" if mix == "reads" else "throughput",
                mix=mix,
                clients=clients,
            )
    for nodes in results.points("hot-key", "nodes"):
        for clients in results.points("hot-key", "clients", nodes=nodes):
            what = f"increments/s of one key, {clients:,} clients through {nodes} node{'s' * (nodes > 1)}"
            yield from _compare(results, "hot-key", "ops_per_s", what, "hot key", nodes=nodes, clients=clients)
    for size in results.points("bytes", "size", what="write"):
        what = f"bytes on disks for a write of {size:,}"
        yield from _compare(results, "bytes", "disk_bytes_per_op", what, "bytes", lower=True, what="write", size=size)
    for region in (1, 2, 3):
        for kind, words in (("own", "its own key"), ("shared", "a shared key")):
            ours = results.median("wide-area", OURS, f"p50_ms_{region}", kind=kind)
            for leader in results.points("wide-area", "leader") if ours else []:
                theirs = results.median("wide-area", LOG, f"p50_ms_{region}", kind=kind, leader=leader)
                if theirs and ours and ours / theirs >= _NOTABLE:
                    what = f"ms for {words}, client in region {region}, leader in region {leader}"
                    yield Win(what, theirs, ours, "wide area")


def _compare(
    results: Results, scenario: str, name: str, text: str, reason: str, lower: bool = False, **point: object
) -> Iterator[Win]:
    log, ours = (results.median(scenario, system, name, **point) for system in (LOG, OURS))
    if log and ours and (ours / log if lower else log / ours) >= _NOTABLE:
        yield Win(text, log, ours, reason)


def where_raft_wins(results: Results) -> str:
    """The section; empty when the two modes were not both measured."""
    known = results.about.get("systems", {})
    if OURS not in known or LOG not in known:
        return ""
    found = list(wins(results))
    if not found:
        return "## Where Raft wins, and why\n\nNowhere among what was measured here, by more than 5 %."
    rows = [[win.what, number(win.log, 1), number(win.ours, 1), f"{win.factor:.2f}"] for win in found]
    reasons = {win.reason: _REASONS[win.reason] for win in found}
    return "\n\n".join(
        [
            "## Where Raft wins, and why",
            "The two modes of paxoskv share everything but the engine, so their difference is that of the protocols. "
            "Wherever Raft came out ahead by more than 5 %:",
            table(["", "Raft", "leaderless", "times"], rows),
            "\n".join(f"- *{reason}*: {why}." for reason, why in reasons.items()),
        ]
    )
