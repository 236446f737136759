"""etcd as Debian has it, driven by its own Go client."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

from comparison import processes
from comparison.load import Load
from comparison.systems.contract import Layout, System, apt, go_driver, go_load_command, output

_FLAGS: Final = ("--quota-backend-bytes=8589934592", "--log-level=error", "--logger=zap")
_LEADER_S_MAX: Final = 10.0


class Etcd(System):
    name = "etcd"
    title = "etcd"
    durability = "on a majority of disks"
    reads = "linearizable (ReadIndex)"
    client = "its own Go client, 4 connections to each node"

    def install(self) -> dict[str, str]:
        apt("etcd", "etcd-server")
        version = output(["etcd", "--version"]).splitlines()[0].rsplit(" ", 1)[-1]
        return {"etcd": version, "go": go_driver()}

    def configuration(self) -> dict[str, Any]:
        return {"flags": [*_FLAGS, *self._timing()]}

    def _timing(self) -> list[str]:
        # As its documentation says: heartbeats of a round trip, elections of ten.
        milliseconds = int(self.layout.round_trip_s * 1000)
        if milliseconds <= 10:
            return []
        return [f"--heartbeat-interval={milliseconds}", f"--election-timeout={10 * milliseconds}"]

    def prepare(self, layout: Layout) -> None:
        count = len(layout.folders)
        ports = processes.free_ports(2 * count)
        self._clients, self._peers = ports[:count], ports[count:]
        self._announced = [
            port if layout.links is None else layout.links.before(index + 1, port)
            for index, port in enumerate(self._peers)
        ]

    def command(self, number: int) -> tuple[list[str], dict[str, str]]:
        index = number - 1
        client, peer = f"http://127.0.0.1:{self._clients[index]}", f"http://127.0.0.1:{self._peers[index]}"
        members = ",".join(f"node{i + 1}=http://127.0.0.1:{port}" for i, port in enumerate(self._announced))
        command = ["etcd", f"--name=node{number}", f"--data-dir={self.folder(number) / 'data'}"]
        command += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        command += [f"--listen-peer-urls={peer}"]
        command += [f"--initial-advertise-peer-urls=http://127.0.0.1:{self._announced[index]}"]
        command += [f"--initial-cluster={members}", "--initial-cluster-state=new", *_FLAGS, *self._timing()]
        # It refuses to run on some architectures unless it is told that one knows.
        return command, {"ETCD_UNSUPPORTED_ARCH": os.uname().machine}

    def answers(self, number: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._clients[number - 1]}/health", timeout=2) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False

    def _call(self, number: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._clients[number - 1]}/v3/maintenance/{path}", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=2) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def leader(self) -> int | None:
        members: dict[str, int] = {}
        leads = None
        for number in self.numbers():
            try:
                status = self._call(number, "status", {})
            except (urllib.error.URLError, OSError):
                continue
            members[status["header"]["member_id"]] = number
            leads = status.get("leader", leads)
        return members.get(leads or "")

    def make_leader(self, number: int) -> bool:
        limit = time.monotonic() + _LEADER_S_MAX
        while (leader := self.leader()) != number and time.monotonic() < limit:
            if leader is not None:
                target = self._call(number, "status", {})["header"]["member_id"]
                try:
                    self._call(leader, "transfer-leadership", {"targetID": target})
                except (urllib.error.URLError, OSError):
                    time.sleep(0.2)
        return self.leader() == number

    def load_command(self, load: Load, numbers: Sequence[int]) -> list[str]:
        return go_load_command("etcd", load, [f"127.0.0.1:{self._clients[number - 1]}" for number in numbers])
