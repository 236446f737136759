"""PySyncObj from PyPI: Raft as a library inside its user's processes, which is where its clients are too."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from multiprocessing.connection import Client
from typing import Any, Final

from comparison import processes
from comparison.load import Load
from comparison.processes import Missing
from comparison.systems.contract import REPOSITORY, Layout, System

# Measured to be the quickest. With its defaults a lonely write waits for several ticks of 50 ms; and it would write all
# its data again every 5,000 entries.
_SETTINGS: Final = {
    "appendEntriesUseBatch": 0,
    "autoTickPeriod": 0.002,
    "logCompactionMinEntries": 10_000_000,
    "logCompactionMinTime": 86_400,
}


class PySyncObj(System):
    name = "pysyncobj"
    title = "PySyncObj"
    durability = "in the page cache of a majority: its journal is a file that it never syncs"
    reads = "through the log: a read of its own is what the node has, which may be old"
    client = "inside its nodes (Python), their clients die with them"
    # It never waits for a disk, so a disk that hangs only stops the pages that are written behind it.
    faults = frozenset({"kill", "pause"})
    open_loop = False
    inserts = False
    unordered = "its dictionary has no order of keys"

    def install(self) -> dict[str, str]:
        if importlib.util.find_spec("pysyncobj") is None:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "pysyncobj"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Missing(f"pysyncobj: pip cannot install it: {done.stderr.strip()[-300:]}")
            importlib.invalidate_caches()
        return {"pysyncobj": version("pysyncobj")}

    def configuration(self) -> dict[str, Any]:
        return {"journalFile": "on disk, not synced", **_SETTINGS, **self._timing()}

    def _timing(self) -> dict[str, float]:
        trip = self.layout.round_trip_s
        if trip <= 0.01:
            return {}
        slow = {"appendEntriesPeriod": trip, "raftMinTimeout": 10 * trip, "raftMaxTimeout": 20 * trip}
        return {**slow, "connectionTimeout": 30 * trip}

    def prepare(self, layout: Layout) -> None:
        count = len(layout.folders)
        ports = processes.free_ports(2 * count)
        self._ports, self._controls = ports[:count], ports[count:]
        self._announced = [
            port if layout.links is None else layout.links.before(index + 1, port)
            for index, port in enumerate(self._ports)
        ]

    def command(self, number: int) -> tuple[list[str], dict[str, str]]:
        index = number - 1
        others = [f"127.0.0.1:{port}" for i, port in enumerate(self._announced) if i != index]
        command = [sys.executable, "-m", "comparison.drivers.pysyncobj_node", "--others", ",".join(others)]
        command += ["--own", f"127.0.0.1:{self._announced[index]}", "--bind", f"127.0.0.1:{self._ports[index]}"]
        command += ["--control", str(self._controls[index]), "--journal", str(self.folder(number) / "journal")]
        command += ["--settings", *(f"{name}={value}" for name, value in {**_SETTINGS, **self._timing()}.items())]
        return command, {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}

    def _ask(self, number: int, request: str) -> Any:
        try:
            with Client(("127.0.0.1", self._controls[number - 1])) as control:
                control.send((request,))
                return control.recv() if control.poll(1.0) else None
        except (OSError, EOFError):
            return None

    def answers(self, number: int) -> bool:
        return bool(self._ask(number, "ready"))

    def leader(self) -> int | None:
        for number in self.numbers():
            port = (self._ask(number, "leader") or "").rpartition(":")[2]
            if port.isdecimal() and int(port) in self._announced:
                return self._announced.index(int(port)) + 1
        return None

    def load_command(self, load: Load, numbers: Sequence[int]) -> list[str]:
        controls = ",".join(str(self._controls[number - 1]) for number in numbers)
        command = [sys.executable, "-m", "comparison.drivers.pysyncobj_load", "--controls", controls]
        return [*command, "--load", json.dumps(dataclasses.asdict(load))]
