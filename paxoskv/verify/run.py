"""One verification: a cluster, clients, faults, and then the checker."""

import asyncio
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from paxoskv import __version__, check
from paxoskv.check.formats import jsonl
from paxoskv.check.history import Fault
from paxoskv.core.errors import ConfigurationError
from paxoskv.server import config, launcher
from paxoskv.server.config import ClusterConfig
from paxoskv.server.launcher import LocalCluster
from paxoskv.trace import merging, reading
from paxoskv.trace.reading import Event
from paxoskv.verify import nemesis, proxy
from paxoskv.verify.availability import Availability, availability
from paxoskv.verify.clients import CallRecorder, Clients
from paxoskv.verify.nemesis import Incident, Nemesis

HISTORY_NAME: Final = "history.jsonl"
REPORT_NAME: Final = "report.html"
SUMMARY_NAME: Final = "summary.json"
TRACE_NAME: Final = "trace.jsonl"
_TRACES_NAME: Final = "traces"
CLUSTER_NAME: Final = "cluster"
FOREIGN_PREFIX: Final = b"paxoskv-verify/"
"""Of the keys that are used in a cluster which runs already."""
# Between the last fault and the reading of every key.
_CALM_S: Final = 1.0


@dataclass(slots=True)
class Plan:
    """What to do."""

    out: Path
    nodes: int = 3
    mode: str = "paxos"
    duration_s: float = 30.0
    clients: int = 24
    keys: int = 8
    workload: str = "mixed"
    faults: Sequence[str] = nemesis.FAULTS
    seed: int = 1
    endpoints: Sequence[str] = ()
    """Of a cluster that runs already; none: start one."""
    base_port: int | None = None
    trace: bool = False
    """Whether the nodes write traces, to be merged into one."""


@dataclass(slots=True)
class Report:
    """Everything that the summary shows."""

    plan: Plan
    mode: str
    """Of the cluster, which may be one that was there."""
    result: check.Result
    outcomes: dict[str, Counter[str]]
    """How many operations, by kind and outcome."""
    availability: dict[str, Availability]
    unread: int
    """Reads after the faults that got no answer."""
    unmended: list[str]
    """What the faults left broken: then there is no verdict of ok, whatever the history says."""
    incidents: list[Incident]
    seconds: float

    @property
    def verdict(self) -> check.Verdict:
        """That on the history, but unknown in place of ok where something was left broken."""
        if self.unmended and self.result.verdict is check.Verdict.OK:
            return check.Verdict.UNKNOWN
        return self.result.verdict

    def to_json(self) -> dict[str, Any]:
        """summary.json."""
        plan = self.plan
        return {
            "version": __version__,
            "verdict": self.verdict.value,
            "seed": plan.seed,
            "mode": self.mode,
            "nodes": len(plan.endpoints) or plan.nodes,
            "clients": plan.clients,
            "keys": plan.keys,
            "workload": plan.workload,
            "duration_s": plan.duration_s,
            "seconds": round(self.seconds, 3),
            "operations": self.result.operations,
            "outcomes": {kind: dict(sorted(counts.items())) for kind, counts in sorted(self.outcomes.items())},
            "availability": {
                kind: {
                    "incidents": seen.incidents,
                    "longest_gap_s_clients_of_other_nodes": round(seen.others_gap_s, 3),
                    "longest_gap_s_clients_of_that_node": round(seen.own_gap_s, 3),
                }
                for kind, seen in self.availability.items()
            },
            "faults": [dataclasses.asdict(incident) for incident in self.incidents],
            "unread": self.unread,
            "unmended": self.unmended,
            "violations": [key.sentence for key in self.result.violations],
            "check_s": round(self.result.seconds, 3),
        }


async def verify(plan: Plan, say: Callable[[str], None]) -> Report:
    """Run the plan and write history, report and summary. Raises ConfigurationError and NotReached.

    When it is interrupted, what was recorded so far is written and checked all the same.
    """
    began = time.monotonic()
    plan.out.mkdir(parents=True, exist_ok=True)
    cluster: LocalCluster | None = None
    links: proxy.Links | None = None
    if plan.endpoints:
        endpoints = dict(enumerate(plan.endpoints, 1))
    else:
        cluster, links = await _start(plan)
        endpoints = dict(zip(cluster.config.nodes, cluster.endpoints, strict=True))
        say(f"{len(endpoints)} nodes ready, every link between them through a proxy")
    recorder = CallRecorder()
    # In somebody's cluster, keys of our own; they may be there since the last time.
    prefix = FOREIGN_PREFIX if plan.endpoints else b""
    clients = Clients(endpoints, plan.clients, plan.keys, plan.seed, recorder, plan.workload, prefix)
    mode = plan.mode
    adversary = Nemesis(plan.faults, plan.seed, endpoints, cluster, links, say)
    if plan.endpoints:
        mode = await clients.look_before()
        await adversary.ask_leave()
    interrupted = False
    unread = 0
    try:
        until = time.monotonic() + plan.duration_s
        async with asyncio.TaskGroup() as group:
            group.create_task(adversary.run(until))
            group.create_task(clients.run(until))
        say("all is mended; reading every key through every node")
        await asyncio.sleep(_CALM_S)
        unread = await clients.read_everything()
    except asyncio.CancelledError:
        interrupted = True
        say("interrupted; checking what was recorded so far")
    finally:
        if cluster is not None:
            await asyncio.shield(asyncio.to_thread(cluster.stop_all))
        for link in (links or {}).values():
            await link.stop()
    history = recorder.history
    history.faults = [
        Fault(
            incident.kind,
            incident.start - recorder.began,
            None if incident.finish is None else incident.finish - recorder.began,
            incident.nodes[0] if len(incident.nodes) == 1 else None,
            incident.text,
        )
        for incident in adversary.incidents
    ]
    if plan.trace:
        say("merging the traces of the nodes")
        _write_trace(plan.out, adversary.incidents)
    say(f"checking {len(history):,} operations")
    with (plan.out / HISTORY_NAME).open("w", encoding="utf-8") as file:
        jsonl.write(history, file)
    result = check.check(history)
    source = f"paxoskv verify, {mode}, seed {plan.seed}"
    check.write_html(plan.out / REPORT_NAME, history, result, source=source)
    outcomes: dict[str, Counter[str]] = {}
    for operation in history:
        outcomes.setdefault(operation.kind, Counter())[operation.outcome] += 1
    report = Report(
        plan,
        mode,
        result,
        outcomes,
        availability(adversary.incidents, clients.logs, recorder.began),
        unread,
        adversary.unmended,
        adversary.incidents,
        time.monotonic() - began,
    )
    summary = {**report.to_json(), "interrupted": interrupted}
    (plan.out / SUMMARY_NAME).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return report


def _write_trace(out: Path, incidents: Sequence[Incident]) -> None:
    """One trace of what all nodes wrote, and of the faults that they could not know of."""
    # The older half of a long trace comes first.
    paths = sorted((out / _TRACES_NAME).iterdir(), reverse=True)
    faults = [event for incident in incidents for event in _fault_events(incident)]
    with (out / TRACE_NAME).open("w", encoding="utf-8") as file:
        for event in merging.merge([reading.read(path) for path in paths], faults):
            file.write(json.dumps(event, separators=(",", ":")) + "\n")


def _fault_events(incident: Incident) -> Iterator[Event]:
    # Of its disk a node tells by itself.
    if incident.kind in (nemesis.DISK_STALL, nemesis.CLOCK):
        return
    # How much of a node's links is cut, only the words tell.
    kind = "network" if incident.kind == nemesis.PARTITION and "alone" not in incident.text else incident.kind
    for number in incident.nodes[:1]:
        fault = {"kind": kind, "node": number, "peer": incident.nodes[-1], "text": incident.text}
        yield {"t": incident.start, "e": "fault", **fault}
        if incident.finish is not None:
            yield {"t": incident.finish, "e": "heal", **fault}


async def _start(plan: Plan) -> tuple[LocalCluster, proxy.Links]:
    """A fresh cluster, whose nodes reach each other through proxies."""
    folder = plan.out / CLUSTER_NAME
    if folder.exists():
        raise ConfigurationError(f"{plan.out} holds a former verification; give another --out, or remove it")
    configuration = launcher.prepare(
        folder, plan.nodes, plan.base_port or launcher.free_base_port(plan.nodes), plan.mode
    )
    addresses = {number: (node.peer.host, node.peer.port) for number, node in configuration.nodes.items()}
    links = await proxy.between(addresses, plan.seed)
    views = {number: _write_view(configuration, number, links) for number in configuration.nodes}
    options = ["--fault-injection"]
    if plan.trace:
        (plan.out / _TRACES_NAME).mkdir(exist_ok=True)
        options += ["--trace", str(plan.out / _TRACES_NAME)]
    cluster = LocalCluster(configuration, options, views)
    try:
        await asyncio.to_thread(cluster.start_all)
    except BaseException:
        for link in links.values():
            await link.stop()
        raise
    return cluster, links


def _write_view(configuration: ClusterConfig, number: int, links: proxy.Links) -> Path:
    """The cluster.toml of one node: every other node's peer port is that of the proxy on the way there."""
    entries = []
    for other, node in configuration.nodes.items():
        peer = str(node.peer) if other == number else f"127.0.0.1:{links[number, other].port}"
        entries.append((other, str(node.client), peer, str(node.data)))
    path = configuration.path.with_name(f"cluster-{number}.toml")
    path.write_text(config.render(configuration.cluster, configuration.mode, entries), encoding="utf-8")
    return path
