"""`serve --trace`: what live nodes write down, how much at the most, and that nothing of it can hurt them."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from harness.processes import running_cluster

from paxoskv import sync
from paxoskv.film import make_reel
from paxoskv.server.logs import NodeLog
from paxoskv.server.tracing import TraceFile, TraceRecorder
from paxoskv.trace import merging, reading


@pytest.mark.parametrize("mode", ["paxos", "raft"])
def test_a_live_cluster_can_be_filmed(tmp_path: Path, mode: str) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    with (
        running_cluster(tmp_path / "cluster", 3, "--trace", str(traces), mode=mode) as cluster,
        sync.connect(cluster.endpoints) as kv,
    ):
        for number in range(20):
            kv.put("apple", b"%d" % number)
        assert kv.get("apple").value == b"19"
        kv.put("pear", "green")
        for endpoint in cluster.endpoints:
            # At its home a key is begun without asking. Who writes it elsewhere takes it over.
            with sync.connect(endpoint) as other:
                other.put("pear", "green")
        assert [found.key for found in kv.scan()] == [b"apple", b"pear"]
        cluster.kill(2)
        kv.put("apple", "last")
        cluster.start(2)
        cluster.wait_ready(2)
    merged = merging.merge([reading.read(path) for path in sorted(traces.iterdir())])
    counts = Counter(event["e"] for event in merged)
    assert counts["call"] == counts["return"] >= 24
    scans = [event["call"] for event in merged if event["e"] == "call" and event["kind"] == "scan"]
    pages = [event["value"] for event in merged if event["e"] == "return" and event["call"] in scans]
    assert pages == ["apple pear"]
    assert counts["crash"] == 1
    assert counts["start"] == 4
    # Only what was on its way to the killed node, or before the links were up, is lost.
    assert counts["receive"] > 0.5 * counts["send"]
    assert counts["commit"] > 20
    assert [event["t"] for event in merged] == sorted(event["t"] for event in merged)
    sent = {event["frame"]: event["t"] for event in merged if event["e"] == "send"}
    assert all(event["t"] >= sent[event["frame"]] for event in merged if event["e"] == "receive")
    reel = make_reel(merged)
    assert set(reel.keys) >= {"apple", "pear"}
    states = [event for event in reel.events if event[0] == "state" and event[5] == "last"]
    assert {event[1] for event in states} >= {1, 3}
    if mode == "raft":
        assert "leader" in {event[2] for event in reel.events if event[0] == "node"}
    else:
        assert [event[3] for event in reel.events if event[0] == "chosen"][-1] == "last"
        kinds = {message["kind"] for message in reel.messages}
        assert {"Prepare", "Promised", "Accept", "Accepted"} <= kinds


def test_faults_that_are_injected_are_written_down(tmp_path: Path) -> None:
    import asyncio

    from paxoskv.client.connection import Connection

    with running_cluster(tmp_path / "cluster", 1, "--fault-injection", "--trace", str(tmp_path)) as cluster:

        async def inject() -> None:
            address = cluster.nodes[1].config.client
            connection = await Connection.open(address.host, address.port, 5.0, lambda *_: None)
            await connection.inject_fault("disk-stall", True)
            await connection.inject_fault("disk-stall", False)
            await connection.inject_fault("clock-jump", 2.0)
            connection.close()

        asyncio.run(inject())
    events = [event for event in reading.read(tmp_path / "node-1.jsonl") if event["e"] in ("fault", "heal")]
    assert [(event["e"], event["kind"]) for event in events] == [
        ("fault", "disk-stall"),
        ("heal", "disk-stall"),
        ("fault", "clock-jump"),
        ("heal", "clock-jump"),
    ]


def test_a_trace_that_cannot_be_begun_is_refused_and_names_the_file(tmp_path: Path) -> None:
    from paxoskv.core.errors import ConfigurationError

    with (
        pytest.raises(ConfigurationError, match=r"the trace .* cannot be written"),
        running_cluster(tmp_path / "cluster", 1, "--trace", str(tmp_path / "nowhere" / "file")),
    ):
        pass


def test_a_file_keeps_to_its_bound_and_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    begun = []
    file = TraceFile(path, 2000, lambda: begun.append(path.read_text()))
    for number in range(1000):
        file.write(f'{{"number":{number}}}')
        file.end_turn()
    file.close()
    assert len(begun) > 5
    older, newer = path.with_name("trace.jsonl.1"), path
    assert older.stat().st_size + newer.stat().st_size < 2100
    numbers = [json.loads(line)["number"] for line in older.read_text().splitlines() + newer.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 1000))


@pytest.mark.parametrize("torn", ["", '{"t":1,"e":"com', "{" * 10_000])
def test_a_line_that_a_killed_process_left_unfinished_is_cut_off(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"a":1}\n' + torn)
    file = TraceFile(path, 1 << 20, lambda: None)
    file.write('{"b":2}')
    file.end_turn()
    file.close()
    assert path.read_text() == '{"a":1}\n{"b":2}\n'
    path.write_text(torn)
    TraceFile(path, 1 << 20, lambda: None).close()
    assert path.read_text() == ""


def test_a_full_disk_ends_the_trace_and_not_the_node(capfd: pytest.CaptureFixture[str]) -> None:
    begin = {"mode": "paxos", "cluster": "c", "nodes": [1], "node": 1, "incarnation": 1}
    recorder = TraceRecorder(Path("/dev/full"), 1 << 20, log := NodeLog(1, "info"), begin)
    recorder.events.crashed(1)
    recorder.end_turn()
    recorder.close()
    assert log.flush(60)
    assert "the trace ends" in capfd.readouterr().err


@pytest.mark.interpreted
def test_nothing_is_traced_unless_asked(tmp_path: Path) -> None:
    """Not even a wrapper is on the way then."""
    import asyncio

    from paxoskv.server import run

    async def main() -> str:
        made: list[str] = []

        class Seen(run.Node):
            def start(self) -> None:
                made.append(type(self._engine).__name__)
                super().start()
                asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "Node", Seen)
            from paxoskv.server import config, launcher

            configuration = launcher.prepare(tmp_path, 1, launcher.free_base_port(1), None)
            await run.serve(configuration, 1, config.Options())
        return made[0]

    assert asyncio.run(main()) == "PaxosEngine"
