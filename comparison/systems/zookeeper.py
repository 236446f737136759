"""ZooKeeper as Debian has it, driven by samuel/go-zookeeper."""

import re
from collections.abc import Sequence
from typing import Any, Final

from comparison import processes
from comparison.load import Load
from comparison.systems.contract import Layout, System, apt, go_driver, go_load_command, output

_JAR: Final = "/usr/share/java/zookeeper.jar"
_SETTINGS: Final = {
    "tickTime": "2000",
    "initLimit": "10",
    "syncLimit": "5",
    "maxClientCnxns": "0",
    "admin.enableServer": "false",
    "4lw.commands.whitelist": "srvr",
}


class ZooKeeper(System):
    name = "zookeeper"
    title = "ZooKeeper"
    durability = "on a majority of disks (forceSync)"
    reads = "sync, then a read of the node at hand: its nearest to linearizable"
    client = "samuel/go-zookeeper (Go), 4 sessions to each node"
    unordered = "getChildren lists all names under a node, in no order"

    def install(self) -> dict[str, str]:
        apt(_JAR, "zookeeper", "default-jre-headless")
        apt("java", "default-jre-headless")
        version = output(["dpkg-query", "--showformat=${Version}", "--show", "zookeeper"])
        return {"zookeeper": version, "go": go_driver()}

    def configuration(self) -> dict[str, Any]:
        return {"zoo.cfg": _SETTINGS}

    def prepare(self, layout: Layout) -> None:
        count = len(layout.folders)
        ports = processes.free_ports(3 * count)
        self._clients, self._quorum, self._election = ports[:count], ports[count : 2 * count], ports[2 * count :]
        announced = [
            (quorum, election)
            if layout.links is None
            else (layout.links.before(index + 1, quorum), layout.links.before(index + 1, election))
            for index, (quorum, election) in enumerate(zip(self._quorum, self._election, strict=True))
        ]
        for number, folder in enumerate(layout.folders, 1):
            (folder / "data").mkdir()
            (folder / "data" / "myid").write_text(f"{number}\n")
            lines = [f"{name}={value}" for name, value in _SETTINGS.items()]
            lines += [f"dataDir={folder / 'data'}", f"clientPort={self._clients[number - 1]}"]
            lines += ["clientPortAddress=127.0.0.1"]
            for other in range(1, count + 1):
                # Its own ports are those that it listens on.
                own = (self._quorum[number - 1], self._election[number - 1])
                quorum, election = own if other == number else announced[other - 1]
                lines.append(f"server.{other}=127.0.0.1:{quorum}:{election}")
            self._config(number).write_text("\n".join(lines) + "\n")

    def _config(self, number: int) -> Any:
        return self.layout.folders[0].parent / f"zookeeper-{number}.cfg"

    def command(self, number: int) -> tuple[list[str], dict[str, str]]:
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return ["java", "-cp", _JAR, main, str(self._config(number))], {}

    def _mode(self, number: int) -> str:
        found = re.search(rb"Mode: (\w+)", processes.ask(self._clients[number - 1], b"srvr\n"))
        return found[1].decode() if found else ""

    def answers(self, number: int) -> bool:
        return self._mode(number) != ""

    def leader(self) -> int | None:
        return next((number for number in self.numbers() if self._mode(number) == "leader"), None)

    def load_command(self, load: Load, numbers: Sequence[int]) -> list[str]:
        return go_load_command("zookeeper", load, [f"127.0.0.1:{self._clients[number - 1]}" for number in numbers])
