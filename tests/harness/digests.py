"""What became of a universe, in one number."""

import hashlib

from paxoskv.sim.configuration import draw
from paxoskv.sim.trace import Trace
from paxoskv.sim.universe import Universe


def digest(seed: int, mode: str) -> str:
    """Of its trace: every frame with its bytes, every commit, crash, call and answer."""
    hashed = hashlib.sha256()
    Universe(draw(seed, mode, operations=100), Trace(lambda line: hashed.update(line.encode()))).run()
    return hashed.hexdigest()
