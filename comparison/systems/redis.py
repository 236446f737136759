"""Redis as Debian has it: one server, whose log is on disk before it answers. The ceiling: nothing is replicated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from comparison import processes
from comparison.load import Load
from comparison.systems.contract import Layout, System, apt, go_driver, go_load_command, output

_OPTIONS: Final = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


def version() -> str:
    """Of the installed server. Raises Missing."""
    apt("redis-server", "redis-server")
    return output(["redis-server", "--version"]).split("v=")[1].split()[0]


def server_command(port: int, folder: Path) -> list[str]:
    """One server, every write of which is on disk when it is answered."""
    return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), *_OPTIONS]


def serves(port: int) -> bool:
    """Whether it has loaded its data."""
    return processes.answers_redis(port)


class Redis(System):
    name = "redis"
    title = "Redis (one node)"
    durability = "on one disk (appendfsync always): not replicated"
    reads = "from the one server's memory"
    client = "redigo (Go), a connection for each client"
    nodes_max = 1
    faults = frozenset()
    unordered = "SCAN has no order of keys"

    def install(self) -> dict[str, str]:
        return {"redis": version(), "go": go_driver()}

    def configuration(self) -> dict[str, Any]:
        return {"options": list(_OPTIONS)}

    def prepare(self, layout: Layout) -> None:
        [self._port] = processes.free_ports(1)

    def command(self, number: int) -> tuple[list[str], dict[str, str]]:
        return server_command(self._port, self.folder(number)), {}

    def answers(self, number: int) -> bool:
        return serves(self._port)

    def load_command(self, load: Load, numbers: Sequence[int]) -> list[str]:
        return go_load_command("redis", load, [f"127.0.0.1:{self._port}"])
