"""The build: plain Python; or, with PAXOSKV_COMPILE=1 in the environment, what is hot compiled by mypyc.

The same sources, compiled from their annotations (docs/design.md, "Compiled"). `make compiled` makes such a build in a
virtual environment of its own, where no binary can outlive the sources that it came from.
"""

import os
from pathlib import Path

from setuptools import setup

# Extensions that are built side by side. Whatever is not named stays interpreted, and may be mixed freely with the
# rest: what is not hot, and what slices bytes at bounds that cross (redis), which mypyc 2.4 answers with SystemError.
GROUPS = {
    "engines": ["paxoskv/core", "paxoskv/paxos", "paxoskv/raft"],
    "server": [
        "paxoskv/server/clients.py",
        "paxoskv/server/node.py",
        "paxoskv/server/peers.py",
        "paxoskv/server/tracing.py",
        "paxoskv/wire/client.py",
        "paxoskv/wire/framing.py",
    ],
    "simulator": [
        "paxoskv/sim/disk.py",
        "paxoskv/sim/history.py",
        "paxoskv/sim/mode.py",
        "paxoskv/sim/network.py",
        "paxoskv/sim/paxos.py",
        "paxoskv/sim/properties.py",
        "paxoskv/sim/raft.py",
        "paxoskv/sim/replica.py",
        "paxoskv/sim/timeline.py",
        "paxoskv/sim/universe.py",
        "paxoskv/workload.py",
    ],
}
# numbers.py: mypyc folds its constant of 16,384 bits into C. errors.py: it assigns several attributes at once in the
# bodies of its classes, which mypyc does not know; nothing in it is hot.
INTERPRETED = {"paxoskv/core/numbers.py", "paxoskv/core/errors.py"}


def sources(paths: list[str]) -> list[str]:
    """The modules of a group, those of packages within packages too."""
    found: list[str] = []
    for path in map(Path, paths):
        found += sorted(map(str, path.rglob("*.py"))) if path.is_dir() else [str(path)]
    return [name for name in found if name not in INTERPRETED and not name.endswith("__init__.py")]


if os.environ.get("PAXOSKV_COMPILE"):
    from mypyc.build import mypycify

    extensions = mypycify(
        [name for paths in GROUPS.values() for name in sources(paths)],
        separate=[(sources(paths), f"paxoskv_{group}") for group, paths in GROUPS.items()],
        opt_level="2",
        debug_level="0",
    )
    setup(ext_modules=extensions, options={"build_ext": {"parallel": os.cpu_count()}})
else:
    setup()
