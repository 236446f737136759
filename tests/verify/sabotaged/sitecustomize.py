"""On the PYTHONPATH of nodes, this breaks their engine in the way that the environment names."""

import os
import sys
from pathlib import Path

if (name := os.environ.get("PAXOSKV_TEST_CANARY")) and "serve" in sys.argv:
    sys.path.append(str(Path(__file__).parents[2]))
    from harness.canaries import PAXOS, Canary, planted

    LOCAL_READ = Canary(
        "read answered from the local copy",
        "section 4",
        "paxoskv.paxos.reader:Reader._answered",
        "quorum = batch.group.quorum",
        "quorum = 1",
    )
    # Held for as long as the process lives: a generator that nobody holds ends, and mends the engine again.
    BROKEN = planted(next(canary for canary in (*PAXOS, LOCAL_READ) if canary.name == name))
    BROKEN.__enter__()
