"""`paxoskv simulate` as a person meets it; what it simulates is in tests/sim."""

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from harness.processes import started

from paxoskv.cli import INTERRUPTED, main

LINUX = sys.platform == "linux"
PROGRAM = [sys.executable, "-m", "paxoskv", "simulate"]


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments], prog_name="paxoskv")


def test_all_is_well() -> None:
    result = simulate("--seeds", "0:3", "--ops", "20", "--jobs", "1", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["universes"], found["failures"], found["interrupted"]) == (0, 3, [], False)
    assert sum(found["outcomes"].values()) > 0


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        ("x", "'x' is neither a number nor FIRST:LAST"),
        ("3:3", "'3:3' names no seed; LAST is not included"),
        ("0:1000000000000", "names more than 1,000,000,000 seeds"),
    ],
)
def test_seeds_that_are_none_are_refused(seeds: str, sentence: str) -> None:
    result = simulate("--seeds", seeds)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())


@pytest.mark.parametrize("change", ["nodes=0", "operations=-1", "loss=2", "loss=nan", "turn_s=-1", "turn_s=inf"])
def test_changes_that_make_no_universe_are_refused(change: str) -> None:
    result = simulate("--seeds", "1", "--change", change)
    assert result.exit_code == 2
    assert f"'{change}' makes no universe" in result.stderr


def test_changes_that_make_no_universe_of_a_seed_are_refused_whichever_it_is() -> None:
    result = simulate("--seeds", "0:1000", "--ops", "5", "--jobs", "1", "--change", "faults=4")
    assert result.exit_code == 2
    assert "faults='4': seed " in result.stderr


def test_faults_that_a_seed_did_not_draw_are_refused() -> None:
    """It was "numbers from 0 to -1" where none is drawn, and -1 was the last one."""
    result = simulate("--seeds", "7", "--change", "faults=0")
    assert result.exit_code == 2
    assert "faults='0': seed 7 has 0 of them; only faults= fits it" in " ".join(result.stderr.split())
    result = simulate("--seeds", "17", "--change", "faults=-1")
    assert result.exit_code == 2
    assert "faults='-1': seed 17 has " in result.stderr


def test_the_examples_of_its_help_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = CliRunner().invoke(main, ["simulate", "--help"]).stdout
    examples = re.findall(r"^ +paxoskv (simulate .*)$", text, re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        result = CliRunner().invoke(
            main, [*shlex.split(example.replace("0:1000", "0:10")), "--ops", "10", "--jobs", "1"]
        )
        assert result.exit_code == 0, (example, result.stderr)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def handles_interrupts(pid: str) -> bool:
    """Whether a process, which may be gone, has come so far that Python has its handler for SIGINT in place."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next(line for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1)


def figures_are_told(process: "subprocess.Popen[str]", terminal: int) -> bytes:
    """Whoever was interrupted says what was done; answers what else came on its terminal."""
    output, _ = process.communicate(timeout=60)
    seen = b""
    with contextlib.suppress(OSError):  # Linux' way to say that the other end is closed.
        while more := os.read(terminal, 4096):
            seen += more
    os.close(terminal)
    assert process.returncode == INTERRUPTED
    assert "interrupted; the figures are of what was done\n" in output
    return seen


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.skipif(not LINUX, reason="reads /proc"))])
def test_ctrl_c_gives_the_figures_of_what_was_done(jobs: str) -> None:
    """Also of a range that would take days: universes are drawn when their turn comes."""
    ours, theirs = pty.openpty()
    with started(
        [*PROGRAM, "--seeds", "0:1000000000", "--ops", "5", "--jobs", jobs],
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        seen = b""
        while b"universes" not in seen:
            seen += os.read(ours, 4096)
        while jobs == "2" and sum(map(handles_interrupts, children(process.pid))) < 2:
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # As a terminal does: the workers get it, too.
        seen += figures_are_told(process, ours)
    assert b"KeyboardInterrupt" not in seen


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_sigterm_gives_them_as_well(jobs: str) -> None:
    """As `timeout` sends it; the workers, left alone, each said with a traceback that nobody reads their results."""
    command = [*PROGRAM, "--seeds", "0:1000000000", "--ops", "5", "--jobs", jobs]
    ours, theirs = pty.openpty()
    with started(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while b"universes" not in seen:
            seen += os.read(ours, 4096)
        process.send_signal(signal.SIGTERM)
        seen += figures_are_told(process, ours)
    assert b"Traceback" not in seen
