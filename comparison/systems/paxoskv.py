"""This project, in both modes, driven by `paxoskv bench`."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from comparison import processes
from comparison.load import Load
from comparison.systems.contract import Layout, System, output

_PAXOSKV: Final = (sys.executable, "-m", "paxoskv")


class _PaxosKV(System):
    durability = "on a majority of disks"
    reads = "linearizable, asked of a majority"
    client = "paxoskv bench (Python)"
    mode: ClassVar[str]

    def install(self) -> dict[str, str]:
        return {"paxoskv": output([*_PAXOSKV, "--version"]).rsplit(" ", 1)[-1]}

    def configuration(self) -> dict[str, Any]:
        return {"mode": self.mode}

    def prepare(self, layout: Layout) -> None:
        count = len(layout.folders)
        ports = processes.free_ports(2 * count)
        self._clients, self._peers = ports[:count], ports[count:]
        lines = [f'cluster = "compare-{self.name}"', f'mode = "{self.mode}"']
        for index, folder in enumerate(layout.folders):
            peer = self._peers[index] if layout.links is None else layout.links.before(index + 1, self._peers[index])
            lines += ["", "[[nodes]]", f"id = {index + 1}", f'client = "127.0.0.1:{self._clients[index]}"']
            lines += [f'peer = "127.0.0.1:{peer}"', f'listen_peer = "127.0.0.1:{self._peers[index]}"']
            lines += [f'data = "{folder / "data"}"']
        self._config = layout.folders[0].parent / f"{self.name}.toml"
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def command(self, number: int) -> tuple[list[str], dict[str, str]]:
        return [*_PAXOSKV, "serve", "--config", str(self._config), "--node", str(number)], {}

    def answers(self, number: int) -> bool:
        # Over the Redis door: the shortest way to a read by a majority.
        return processes.answers_redis(self._clients[number - 1])

    def endpoints(self, numbers: Sequence[int]) -> str:
        """Client addresses, with commas."""
        return ",".join(f"127.0.0.1:{self._clients[number - 1]}" for number in numbers)

    def load_command(self, load: Load, numbers: Sequence[int]) -> list[str]:
        command = [*_PAXOSKV, "bench", "--json", "--endpoints", self.endpoints(numbers), *load.options()]
        return [*command, "--route", load.route] if load.route else command


class Leaderless(_PaxosKV):
    name = "leaderless"
    title = "paxoskv, leaderless"
    mode = "paxos"


class Raft(_PaxosKV):
    name = "raft"
    title = "paxoskv, Raft"
    mode = "raft"

    def leader(self) -> int | None:
        command = [*_PAXOSKV, "status", "--json", "--timeout", "2", "--endpoints", self.endpoints(self.numbers())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for node in json.loads(done.stdout or "[]"):
            if node.get("raft", {}).get("role") == "leader":
                return int(node["node"])
        return None

    def make_leader(self, number: int) -> bool:
        command = [*_PAXOSKV, "raft", "transfer", "--to", str(number), "--endpoints", self.endpoints(self.numbers())]
        subprocess.run(command, capture_output=True, check=False)
        return self.leader() == number
