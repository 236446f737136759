"""The engines that the simulator knows, by name."""

from collections.abc import Callable, Mapping

from paxoskv.sim import paxos, raft
from paxoskv.sim.mode import Mode

_MODES: Mapping[str, Callable[[], Mode]] = {"paxos": paxos.mode, "raft": raft.mode}


def mode_of(name: str) -> Mode:
    """A fresh mode for one universe."""
    return _MODES[name]()
