"""`paxoskv serve`: options, the same as environment variables, and the sentence for each file that is no good."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import msgpack
import pytest
from cli.conftest import PROGRAM, program
from harness.processes import started

import paxoskv.sync
from paxoskv.cli.serve import Size, serve
from paxoskv.paxos import ballot, register
from paxoskv.paxos.messages import Proposals
from paxoskv.paxos.records import Record
from paxoskv.server import config
from paxoskv.server.launcher import free_base_port
from paxoskv.storage import checksum, datafile
from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage
from paxoskv.wire import paxos


@pytest.fixture
def base() -> int:
    return free_base_port(1)


@pytest.fixture
def file(tmp_path: Path, base: int) -> Path:
    """The cluster.toml of one node."""
    path = tmp_path / "cluster.toml"
    entry = (1, f"127.0.0.1:{base + 1}", f"127.0.0.1:{base + 101}", "node-1")
    path.write_text(config.render("c", "paxos", [entry]))
    return path


def test_a_node_runs_without_uvloop_and_says_so(tmp_path: Path, file: Path, base: int) -> None:
    # As one that was built for another Python.
    (tmp_path / "uvloop.py").write_text('raise ImportError("undefined symbol: _PyModule_Add")')
    command = [*PROGRAM, "serve", "--config", str(file), "--node", "1"]
    with started(command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, stderr=subprocess.PIPE) as node:
        assert node.stderr is not None
        said = node.stderr.readline()
        assert " warning " in said
        assert "slower" in said
        assert 'reason="undefined symbol: _PyModule_Add"' in said
        assert "event=ready" in node.stderr.readline()
        with paxoskv.sync.connect(f"127.0.0.1:{base + 1}") as kv:
            kv.put("k", "v")
            assert kv.get("k").value == b"v"
        node.send_signal(signal.SIGTERM)
        assert "event=stopped operations_unfinished=0" in node.stderr.read()
    assert node.returncode == 0


@pytest.mark.parametrize("command", ["serve --config {} --node 1", "simulate --seeds 0", "explore"])
def test_nothing_runs_or_is_judged_without_its_asserts(command: str, file: Path) -> None:
    without = [PROGRAM[0], "-O", *PROGRAM[1:], *command.format(file).split()]
    done = subprocess.run(without, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "refuses to run under python -O: its invariants are asserts; drop the -O\n" in done.stderr
    assert not (file.parent / "node-1").exists()


def test_every_option_is_an_environment_variable_of_its_name() -> None:
    for parameter in serve.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.envvar == "PAXOSKV_" + parameter.opts[0].removeprefix("--").replace("-", "_").upper()


def test_a_node_can_be_run_by_the_environment_alone(tmp_path: Path, file: Path, base: int) -> None:
    variables = {
        "PAXOSKV_CONFIG": str(file),
        "PAXOSKV_NODE": "1",
        "PAXOSKV_DATA": str(tmp_path / "elsewhere"),
        "PAXOSKV_LISTEN_CLIENT": f"127.0.0.1:{base + 2}",
        "PAXOSKV_LISTEN_PEER": f"127.0.0.1:{base + 102}",
        "PAXOSKV_ADVERTISE_CLIENT": "outside.example:1",
        "PAXOSKV_ADVERTISE_PEER": "outside.example:2",
        "PAXOSKV_CACHE_BYTES": "64k",
        "PAXOSKV_JOURNAL_BYTES": "1m",
        "PAXOSKV_OPERATIONS_MAX": "1000",
        "PAXOSKV_LOG_LEVEL": "debug",
        "PAXOSKV_FAULT_INJECTION": "1",
    }
    command = [*PROGRAM, "serve"]
    with started(command, env=os.environ | variables, stderr=subprocess.PIPE) as node:
        assert node.stderr is not None
        ready = node.stderr.readline()
        assert " info node=1 event=ready client=outside.example:1 peer=outside.example:2 " in ready
        assert f" data={tmp_path}/elsewhere " in ready
        with paxoskv.sync.connect(f"127.0.0.1:{base + 2}") as kv:
            kv.put("k", "v")
        node.send_signal(signal.SIGTERM)
        assert (
            node.stderr.read().splitlines()[-1].split(" ", 1)[1] == "info node=1 event=stopped operations_unfinished=0"
        )
    assert node.returncode == 0
    assert (tmp_path / "elsewhere" / "paxoskv.db").exists()


TABLES = {
    "nothing": ("", "the file lacks 'cluster'"),
    "no TOML": ("cluster =", "is no TOML"),
    "no nodes": ('cluster = "c"', "the file lacks 'nodes'; add a [[nodes]] table for each node"),
    "an unknown key": ('cluster = "c"\nnode = 1', "the file has 'node', which nobody knows; it takes cluster, epoch"),
    "a wrong type": ('cluster = "c"\nnodes = 3', "'nodes' in the file is 3; it must be a list of tables"),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_file_that_is_no_good_is_one_sentence(file: Path, what: str) -> None:
    text, complaint = TABLES[what]
    file.write_text(text)
    done = program("serve", "--config", str(file), "--node", "1", "--json")
    assert done.returncode == 2
    sentence = done.stderr.decode()
    assert sentence.startswith(f"configuration: {file}")
    assert complaint in sentence
    assert sentence.count("\n") == 1
    assert json.loads(done.stdout)["error"] == "configuration"


def test_a_missing_file_and_an_unknown_node_say_what_there_is(tmp_path: Path, file: Path) -> None:
    done = program("serve", "--config", str(tmp_path / "no.toml"), "--node", "1")
    assert done.returncode == 2
    assert b"no.toml does not exist; `paxoskv cluster --dir DIR` writes one" in done.stderr
    done = program("serve", "--config", str(file), "--node", "4")
    assert done.returncode == 2
    assert b"has no node 4; it has 1" in done.stderr


@pytest.mark.parametrize("row", [b"\xc1", b"\x91\xc4\x01\xc1", b"\x91\xc4\x03\x92\x00\x01", b"\x07", b"\x91\x07"])
def test_a_journal_that_is_damaged_inside_a_row_is_refused_by_name(tmp_path: Path, file: Path, row: bytes) -> None:
    identity = Identity("c", 1, "paxos", (1,))
    data = tmp_path / "node-1"
    os.close(datafile.lock(data))
    datafile.prepare(data / datafile.FILE, identity)
    with contextlib.closing(sqlite3.connect(data / datafile.FILE)) as connection, connection:
        group = msgpack.packb([row])
        connection.execute("INSERT INTO journal VALUES (1, ?, ?)", (group, checksum.of_group(1, group)))
    done = program("serve", "--config", str(file), "--node", "1")
    sentence = done.stderr.decode()
    assert done.returncode == 3, sentence
    assert sentence.count("\n") == 1
    assert f"storage: {data / datafile.FILE} is damaged" in sentence
    assert "Put the intact data folder back" in sentence


async def _save(data: Path, key: bytes, text: bytes) -> None:
    """What a checkpoint would have written."""
    written = register.Register()
    written.value = text
    written.modified = 1 << ballot.STEP_BITS + 8 | 1 << ballot.STEP_BITS | 1
    record = Record(key)
    record.promised, record.accepted = ballot.ballot_of(written.modified), written.modified
    record.register = register.encode(written)
    storage = await SqliteStorage.open(data, Identity("c", 1, "paxos", (1,)))
    await storage.fold([(key, record.to_blob())])
    await storage.close()


def test_a_record_found_damaged_while_the_node_runs_ends_it_with_a_sentence(
    tmp_path: Path, file: Path, base: int
) -> None:
    """It was called a bug of ours, and a flipped bit that left the shape as it was, was answered with."""
    data = tmp_path / "node-1"
    asyncio.run(_save(data, b"k", b"precious " * 10_000))
    command = [*PROGRAM, "serve", "--config", str(file), "--node", "1"]
    with started(command, stderr=subprocess.PIPE) as node:
        assert node.stderr is not None
        assert "event=ready" in node.stderr.readline()
        # Far into the value, where nothing has been read since the start.
        with (data / datafile.FILE).open("r+b") as content:
            at = content.read().rindex(b"precious precious")
            content.seek(at)
            content.write(b"q")
        # Unless the sweep reads it first, and there is nobody to connect to any more.
        with pytest.raises(paxoskv.PaxosKVError), paxoskv.sync.connect(f"127.0.0.1:{base + 1}", timeout=5) as kv:
            kv.get("k")
        _, log = node.communicate(timeout=60)
    assert node.returncode == 70, log
    assert 'event="storage failed, the process ends"' in log
    assert "the checksum of key b'k' in its table records is wrong" in log
    assert "bug" not in log
    done = program("serve", "--config", str(file), "--node", "1")
    assert done.returncode == 3
    assert b"the checksum of key b'k' in its table records is wrong" in done.stderr


async def _fill_journal(data: Path, rows: int, operations: int) -> None:
    """The journal of a node that is to be busy with it for a while when it starts."""
    written = register.Register()
    written.value = b"v"
    storage = await SqliteStorage.open(data, Identity("c", 1, "paxos", (1,)))
    for number in range(1, rows + 1):
        keys = tuple(b"%d/%d" % (number, i) for i in range(operations))
        written.modified = number << ballot.STEP_BITS + 8 | 1 << ballot.STEP_BITS | 1
        columns = (keys, (written.modified,) * operations, (register.encode(written),) * operations)
        storage.append(number, msgpack.packb([paxos.CODEC.encode(Proposals(number, (), (), (), *columns))]))
    await storage.close()


def _catches(pid: int, number: int) -> bool:
    """Whether a process has begun to look after a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask, 16) >> number - 1 & 1)


@pytest.mark.parametrize("when", ["loading", "recovering"])
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_node_that_is_still_starting_ends_in_order(
    tmp_path: Path, file: Path, signal_number: signal.Signals, when: str
) -> None:
    """By default SIGTERM ends a process with 143, which a supervisor takes for a failure."""
    data = tmp_path / "node-1"
    asyncio.run(_fill_journal(data, 100, 2000))
    lock = data / datafile.LOCK
    lock.unlink()
    command = [*PROGRAM, "serve", "--config", str(file), "--node", "1"]
    with started(command, stderr=subprocess.PIPE) as node:
        while not (lock.exists() if when == "recovering" else _catches(node.pid, signal.SIGTERM)):
            assert node.poll() is None
        node.send_signal(signal_number)
        _, log = node.communicate(timeout=60)
    assert node.returncode == 0, log
    assert "event=ready" not in log
    if when == "recovering":
        assert log.splitlines()[-1].endswith("event=stopped operations_unfinished=0")
    # In order: nothing is left beside the data file.
    assert sorted(set(os.listdir(data)) - {datafile.LOCK}) == [datafile.FILE]


@pytest.mark.parametrize(
    "where", ["weakref.ref(obj, stop)", "type('T', (), {'x': type('S', (), {'__set_name__': stop})()})"]
)
def test_a_node_that_is_still_loading_ends_wherever_that_meets_it(tmp_path: Path, where: str) -> None:
    """It did not when it was met in the import system's callbacks, one time of a hundred: it started, and stayed."""
    script = f"""
import os, signal, sys, weakref
import paxoskv.cli, paxoskv.cli.serve

def stop(*_):
    os.kill(os.getpid(), signal.SIGTERM)

def meet():
    obj = {{1}}
    held = {where}
    del obj

paxoskv.cli.serve.check_asserts = meet
sys.argv = ["paxoskv", "serve", "--config", "goes-on.toml", "--node", "1"]
paxoskv.cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_node_that_cannot_listen_closes_its_disk(tmp_path: Path, file: Path, base: int) -> None:
    """Or else the next start would look for a WAL that is not there."""
    with socket.create_server(("127.0.0.1", base + 1)):
        for _ in range(2):
            done = program("serve", "--config", str(file), "--node", "1")
            assert done.returncode == 2
            assert b"Address already in use" in done.stderr
    assert sorted(os.listdir(tmp_path / "node-1")) == [datafile.LOCK, datafile.FILE]


def test_a_node_says_which_port_it_cannot_listen_on(file: Path, base: int) -> None:
    done = program("serve", "--config", str(file), "--node", "1", "--listen-client", "192.0.2.1:1")
    assert done.returncode == 2
    assert b"the client port 192.0.2.1:1 cannot be listened on: Cannot assign requested address; where others" in (
        done.stderr
    )
    assert b"with listen_client in cluster.toml, or --listen-client" in done.stderr
    done = program("serve", "--config", str(file), "--node", "1", "--listen-client", "no-such-host.invalid:1")
    assert done.returncode == 2
    assert b"cannot be listened on: Unknown error" not in done.stderr
    assert b"the client port no-such-host.invalid:1 cannot be listened on: " in done.stderr
    done = program("serve", "--config", str(file), "--node", "1", "--listen-peer", "nowhere")
    assert done.returncode == 2
    assert b"--listen-peer is 'nowhere'; it must be host:port" in done.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("64k", 65536), ("64K", 65536), ("1m", 2**20), ("2MiB", 2**21), ("1g", 2**30), ("5kb", 5120)],
)
def test_sizes(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "m", "1.5g", "64q", "1 m"])
def test_what_is_no_size_says_how_sizes_look(text: str) -> None:
    with pytest.raises(click.BadParameter, match="give bytes, or 64k, 256m, 2g"):
        Size().convert(text, None, None)


def test_a_file_of_numbers_or_brackets_without_end_is_no_defect(file: Path) -> None:
    for text in ("epoch = " + "9" * 5000, "x = " + "[" * 100_000):
        file.write_text(text)
        done = program("serve", "--config", str(file), "--node", "1")
        assert done.returncode == 2
        assert b"is no TOML: " in done.stderr
    done = program("serve", "--config", str(file), "--node", "1", "--cache-bytes", "9" * 5000)
    assert done.returncode == 2


def test_a_node_without_files_for_clients_is_refused(file: Path) -> None:
    """It was ready, and took -88 connections."""
    command = f"ulimit -n 100; exec {shlex.join(PROGRAM)} serve --config {file} --node 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "may have 100 files open, of which a node needs 128 for itself" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_node_that_was_begun_without_a_standard_stream_ends_in_order(file: Path, base: int, closed: str) -> None:
    """libuv aborts when it is to close a descriptor below 3."""
    command = f"exec {shlex.join(PROGRAM)} serve --config {file} --node 1 {closed}"
    with started(["bash", "-c", command], stderr=subprocess.DEVNULL) as node:
        with paxoskv.sync.connect(f"127.0.0.1:{base + 1}", timeout=30) as kv:
            kv.put("k", "v")
        node.send_signal(signal.SIGTERM)
    assert node.returncode == 0


def test_a_trace_does_not_go_into_what_is_no_trace(file: Path) -> None:
    """Lines behind a cluster.toml keep every node from starting."""
    before = file.read_text()
    done = program("serve", "--config", str(file), "--node", "1", "--trace", str(file))
    assert done.returncode == 2
    assert b"it is there, and no trace" in done.stderr
    assert file.read_text() == before
