"""The compiled build is the interpreted one: the same seed is the same universe in both, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness.digests import digest

COMPILED = os.environ["PAXOSKV_COMPILED"]
TESTS = Path(__file__).parents[1]
SEEDS = 60


def compiled(code: str, *arguments: str) -> list[str]:
    """The words that a program prints which the compiled build runs, started in the folder of the sources."""
    command = [COMPILED, "-P", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=TESTS.parent).stdout.split()


@pytest.mark.parametrize("mode", ["paxos", "raft"])
def test_every_universe_is_the_same(mode: str) -> None:
    code = "import sys; from paxoskv.core.build import COMPILED; sys.path.insert(0, sys.argv[1])\n"
    code += f"from harness.digests import digest; print(COMPILED, *[digest(seed, {mode!r}) for seed in range({SEEDS})])"
    assert compiled(code, str(TESTS)) == ["True", *[digest(seed, mode) for seed in range(SEEDS)]]


def test_what_failed_comes_back_from_another_process() -> None:
    """It could not be unpickled there, and the run never ended."""
    code = """
import multiprocessing
from paxoskv.sim.universe import Failure
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(Failure, ("liveness", "stuck")))
"""
    assert compiled(code) == ["Failure(kind='liveness',", "message='stuck')"]


def test_a_process_that_a_compiled_one_starts_is_compiled_too() -> None:
    """Though ``python -m paxoskv`` would find the sources in this folder."""
    code = "import subprocess; from paxoskv.server.launcher import own_python\n"
    code += "subprocess.run([*own_python(), '-m', 'paxoskv', '--version'], check=True)"
    assert compiled(code)[-1] == "(compiled)"
    command = [sys.executable, "-c", code]
    own = subprocess.run(command, capture_output=True, text=True, check=True, cwd=TESTS.parent).stdout
    assert "(compiled)" not in own
