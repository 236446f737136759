"""What an operation costs in bytes: written to disks, sent over the network, kept in memory and on disk."""

from pathlib import Path
from typing import Any, Final

from comparison import plots
from comparison.load import Load
from comparison.plots import Plot
from comparison.results import Results
from comparison.scenarios.contract import Scenario, Section, Turn, number, significant, table

_CLIENTS: Final = 16
_OVERWRITTEN: Final = 1000


class Bytes(Scenario):
    name = "bytes"
    measurements, other_s = (9, 7), (45.0, 20.0)
    title = "Bytes"
    question = "How many bytes does a write put on all disks and on the network, and what does a key keep?"
    repeats_max = 1

    def run(self, turn: Turn) -> None:
        pace, system = turn.pace, turn.system
        for size in pace.pick((16, 256, 4096, 65_536), (16, 4096)):
            turn.start()
            turn.say(f"values of {size} bytes")
            keys = min(_OVERWRITTEN, max(100, (16 << 20) // size))
            load = Load(_CLIENTS, pace.seconds, keys=keys, value_size=size)
            system.drive(Load(_CLIENTS, 0.5, keys=keys, value_size=size, fill=True))
            turn.keep({"what": "write", "size": size}, system.drive(load))
        turn.start()
        count = pace.pick(50_000, 20_000)
        turn.say(f"memory of {count:,} keys")
        empty = system.usage()
        system.drive(Load(1, 0.1, keys=count, fill=True))
        grown = (system.usage() - empty).resident_bytes / len(system.numbers()) / count
        turn.keep({"what": "memory"}, {"bytes_per_key": grown, "keys": count})
        turn.start()
        turn.say(f"overwriting {_OVERWRITTEN:,} keys")
        found = system.drive(Load(256, 5 * pace.seconds, keys=_OVERWRITTEN, fill=True))
        disk = sum(_disk_bytes(system.folder(number)) for number in system.numbers()) / len(system.numbers())
        turn.keep({"what": "overwritten"}, {"disk_bytes": disk, "operations": found["operations"]})

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name, what="write")
        sizes = results.points(self.name, "size", what="write")
        if not systems or not sizes:
            return None
        tables = []
        for name, what in (("disk_bytes_per_op", "all disks"), ("network_bytes_per_op", "the network (loopback)")):
            rows = [
                [
                    results.title(system),
                    *(number(results.median(self.name, system, name, what="write", size=size)) for size in sizes),
                ]
                for system in systems
            ]
            tables.append(
                f"Bytes on {what} for each write, by the size of the value, 16 clients:\n\n"
                + table(["", *(f"{size:,} B" for size in sizes)], rows)
            )
        rows = []
        for system in systems:
            memory = results.median(self.name, system, "bytes_per_key", what="memory")
            disk = results.median(self.name, system, "disk_bytes", what="overwritten")
            operations = results.median(self.name, system, "operations", what="overwritten")
            shown = "" if disk is None else significant(disk / 1e6)
            rows.append([results.title(system), number(memory), shown, number(operations)])
        head = ["", "memory for a key, bytes", "MB of disk after overwriting 1,000 keys", "overwrites"]
        tables.append("On each node, keys of a dozen bytes with values of 64:\n\n" + table(head, rows))
        size = sizes[0]
        answer = ", ".join(
            f"{results.title(s)} {number(results.median(self.name, s, 'disk_bytes_per_op', what='write', size=size))}"
            for s in systems
        )

        def draw(figure: Any) -> None:
            both = figure.subplots(1, 2)
            for axes, name, title in (
                (both[0], "disk_bytes_per_op", "on all disks"),
                (both[1], "network_bytes_per_op", "on the network"),
            ):
                for system in systems:
                    pairs = [(s, results.median(self.name, system, name, what="write", size=s)) for s in sizes]
                    xs, ys = [s for s, y in pairs if y], [y for _, y in pairs if y]
                    plots.line(axes, system, xs, ys, results.title(system))
                axes.set_title(title)
                axes.set_xlabel("bytes in a value")
                plots.logarithmic(axes, sizes)
            both[0].set_ylabel("bytes for a write")
            figure.legend(*both[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)

        return Section(
            f"With values of {size} bytes and 16 clients a write puts on all disks together, in bytes: {answer}.",
            tables,
            [Plot("bytes", "Bytes for a write, all nodes together", draw, (10, 4.8))],
            [
                "Disk bytes are those of /proc/PID/io, network bytes those of the loopback interface, clients' "
                "included. Files are counted as they are, preallocated parts too. Redis is one node, not three. "
                "PySyncObj compresses what it sends, and its values here are one letter repeated."
            ],
        )


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
