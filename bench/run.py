"""The micro-benchmarks, one after the other; see README.md beside this file.

python -m bench.run [--only engine|wire|storage] [--quick] [--json out.json]
"""

import json
import os
import platform
from pathlib import Path
from typing import Final

import click

from bench import engine, measuring, storage, wire

ALL: Final = {
    "engine": (engine.run, engine.show),
    "wire": (wire.run, wire.show),
    "storage": (storage.run, storage.show),
}


@click.command(help=__doc__.splitlines()[0])
@click.option("--only", type=click.Choice(list(ALL)), multiple=True, help="This one; more than once for several.")
@click.option("--quick", is_flag=True, help="Few operations, once: to see that they work.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
def main(only: tuple[str, ...], quick: bool, path: Path | None) -> None:
    machine = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "quick": quick,
    }
    print(", ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
    measuring.tune_collector()
    found: dict[str, object] = {"machine": machine}
    for name in only or ALL:
        measure, show = ALL[name]
        figures = measure(quick)
        show(figures)
        found[name] = figures
    if path is not None:
        path.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
