"""Nodes can be broken on purpose: what `sabotage.py` has `paxoskv verify` catch really is broken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from verify.sabotage import CANARIES

SABOTAGED = Path(__file__).parent / "sabotaged"
PLACES = (
    "paxoskv.paxos.engine:PaxosEngine._apply",
    "paxoskv.paxos.acceptor:Acceptor.accept",
    "paxoskv.paxos.reader:Reader._answered",
)
LOOK = """
import importlib, sys
module, path = sys.argv[2].split(":")
owner, name = path.split(".")
print(getattr(getattr(importlib.import_module(module), owner), name).__code__.co_filename)
"""


@pytest.mark.parametrize(("canary", "place"), list(zip(CANARIES, PLACES, strict=True)))
@pytest.mark.parametrize("command", ["serve", "status"])
def test_a_node_is_broken_and_nothing_else(canary: str, place: str, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, command, place],
        env={**os.environ, "PYTHONPATH": str(SABOTAGED), "PAXOSKV_TEST_CANARY": canary},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip() == f"<canary {canary}>") is (command == "serve")
