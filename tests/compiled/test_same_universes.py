"""The compiled build is the interpreted one: the same seed is the same universe in both, byte for byte.

`make test-compiled` makes the build, and says in PAXOSKV_COMPILED which Python has it.
"""

import hashlib
import os
import subprocess
import sys

import pytest

from paxoskv.sim.configuration import draw
from paxoskv.sim.trace import Trace
from paxoskv.sim.universe import Universe

COMPILED = os.environ.get("PAXOSKV_COMPILED")
SEEDS = 40

pytestmark = pytest.mark.skipif(COMPILED is None, reason="make test-compiled makes the build that this compares")


def digests(mode: str) -> list[str]:
    """One for the trace of each universe: every frame with its bytes, every commit, crash, call and answer."""
    return [digest(seed, mode) for seed in range(SEEDS)]


def digest(seed: int, mode: str) -> str:
    hashed = hashlib.sha256()
    Universe(draw(seed, mode, operations=150), Trace(lambda line: hashed.update(line.encode()))).run()
    return hashed.hexdigest()


@pytest.mark.parametrize("mode", ["paxos", "raft"])
def test_every_universe_is_the_same(mode: str) -> None:
    code = "import sys; from paxoskv.core.build import COMPILED; sys.path.insert(0, sys.argv[1])\n"
    code += "from compiled.test_same_universes import digests; print(COMPILED, *digests(sys.argv[2]))"
    assert COMPILED is not None
    tests = os.path.dirname(os.path.dirname(__file__))
    command = [COMPILED, "-P", "-c", code, tests, mode]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    is_compiled, *theirs = other.stdout.split()
    assert is_compiled == "True"
    assert theirs == digests(mode)


def test_a_process_that_a_compiled_one_starts_is_compiled_too() -> None:
    """From the folder of the sources, where ``python -m paxoskv`` would find these."""
    assert COMPILED is not None
    code = "from paxoskv.server.launcher import own_python; import subprocess; print(subprocess.run(\n"
    code += "[*own_python(), '-m', 'paxoskv', '--version'], capture_output=True, text=True).stdout)"
    sources = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [COMPILED, "-P", "-c", code]
    started = subprocess.run(command, capture_output=True, text=True, check=True, cwd=sources)
    assert "(compiled)" in started.stdout
    assert (
        "(compiled)"
        not in subprocess.run(
            [sys.executable, "-m", "paxoskv", "--version"], capture_output=True, text=True, check=True, cwd=sources
        ).stdout
    )
