"""Gryadka, the CASPaxos paper's own: proposers in JavaScript over redis-servers that sync every write."""

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, Final

from comparison import processes
from comparison.load import Load
from comparison.processes import Missing
from comparison.systems import redis
from comparison.systems.contract import BUILD, Layout, System, apt, driver, output

_FOLDER: Final = BUILD / "gryadka"


class Gryadka(System):
    name = "gryadka"
    title = "Gryadka"
    durability = "on a majority of disks (three Redis, appendfsync always)"
    reads = "linearizable, each a round of accepts, disks included"
    client = "proposers inside the load generator (Node.js)"
    # Its nodes are acceptors alone: the proposers live where the clients do.
    faults = frozenset({"kill", "pause", "stall"})
    open_loop = False
    inserts = False
    unordered = "it has no list of its keys"

    def install(self) -> dict[str, str]:
        found = redis.version()
        apt("node", "nodejs")
        apt("npm", "npm")
        _FOLDER.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "load.js"):
            shutil.copy(driver("gryadka") / name, _FOLDER)
        if not (_FOLDER / "node_modules" / "gryadka").exists():
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=_FOLDER, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Missing(f"gryadka: npm cannot install it: {(done.stderr or done.stdout).strip()[-300:]}")
        package = json.loads((_FOLDER / "node_modules" / "gryadka" / "package.json").read_text())
        return {"gryadka": package["version"], "redis": found, "node": output(["node", "--version"])}

    def configuration(self) -> dict[str, Any]:
        return {"acceptors": redis.Redis().configuration(), "proposers": "one, or one for each node"}

    def prepare(self, layout: Layout) -> None:
        self._ports = processes.free_ports(len(layout.folders))

    def command(self, number: int) -> tuple[list[str], dict[str, str]]:
        return redis.server_command(self._ports[number - 1], self.folder(number)), {}

    def answers(self, number: int) -> bool:
        return redis.serves(self._ports[number - 1])

    def _acceptors(self, region: int | None) -> list[int]:
        """As seen by a proposer that stands where that node is."""
        links = self.layout.links
        if links is None or region is None:
            return self._ports
        return [
            port if number == region else links.between(region, number, port)
            for number, port in enumerate(self._ports, 1)
        ]

    def load_command(self, load: Load, numbers: Sequence[int]) -> list[str]:
        region = numbers[0] if len(numbers) == 1 else None
        given = dataclasses.asdict(load) | {
            "acceptors": self._acceptors(region),
            "proposers": len(numbers) if load.route == "any" else 1,
            "identity": 10 * numbers[0],
            "any": load.route == "any",
        }
        return ["node", str(_FOLDER / "load.js"), str(_FOLDER / "node_modules"), json.dumps(given)]
