"""This project, in both modes, driven by `paxoskv bench`."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from comparison import processes
from comparison.load import Load
from comparison.processes import Missing
from comparison.systems.contract import REPOSITORY, Layout, System, output

_COMPILED: Final = REPOSITORY / ".venv-compiled" / "bin" / "python"


class _PaxosKV(System):
    program: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "paxoskv")
    durability = "on a majority of disks"
    reads = "linearizable, asked of a majority"
    client = "paxoskv bench (Python)"
    mode: ClassVar[str]

    def install(self) -> dict[str, str]:
        return {"paxoskv": output([*self.program, "--version"]).partition("version ")[2]}

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
        return [*self.program, "serve", "--config", str(self._config), "--node", str(number)], {}

    def answers(self, number: int) -> bool:
        # Over the Redis door: the shortest way to a read by a majority.
        return processes.answers_redis(self._clients[number - 1])

    def endpoints(self, numbers: Sequence[int]) -> str:
        """Client addresses, with commas."""
        return ",".join(f"127.0.0.1:{self._clients[number - 1]}" for number in numbers)

    def load_command(self, load: Load, numbers: Sequence[int]) -> list[str]:
        command = [*self.program, "bench", "--json", "--endpoints", self.endpoints(numbers), *load.options()]
        return [*command, "--route", load.route] if load.route else command


class Leaderless(_PaxosKV):
    name = "leaderless"
    title = "paxoskv (leaderless)"
    mode = "paxos"


class Raft(_PaxosKV):
    name = "raft"
    title = "paxoskv (Raft)"
    reads = "linearizable (ReadIndex)"
    mode = "raft"

    def leader(self) -> int | None:
        command = [*self.program, "status", "--json", "--timeout", "2", "--endpoints", self.endpoints(self.numbers())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for node in json.loads(done.stdout or "[]"):
            if node.get("raft", {}).get("role") == "leader":
                return int(node["node"])
        return None

    def make_leader(self, number: int) -> bool:
        command = [
            *self.program,
            "raft",
            "transfer",
            "--to",
            str(number),
            "--endpoints",
            self.endpoints(self.numbers()),
        ]
        subprocess.run(command, capture_output=True, check=False)
        return self.leader() == number


class _Compiled(_PaxosKV):
    """The same sources, the engines and the nodes' data path compiled by mypyc."""

    # -P: what is installed there, and not the sources in the working directory.
    program = (str(_COMPILED), "-P", "-m", "paxoskv")
    scenarios = frozenset({"throughput", "hot-key"})
    # To compile takes as long as two of its five minutes.
    quick = False

    def install(self) -> dict[str, str]:
        done = subprocess.run(
            ["make", "--no-print-directory", "compiled", f"PYTHON={sys.executable}"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Missing(f"the compiled build could not be made: {(done.stdout + done.stderr).strip()[-300:]}")
        return super().install()


class CompiledLeaderless(_Compiled, Leaderless):
    name = "leaderless-compiled"
    title = "paxoskv (leaderless, compiled)"


class CompiledRaft(_Compiled, Raft):
    name = "raft-compiled"
    title = "paxoskv (Raft, compiled)"
