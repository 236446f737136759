"""All micro-benchmarks, one after the other: `python bench/run.py [--quick]`. See README.md beside it."""

import argparse
import subprocess
import sys
from pathlib import Path

ALL = ("engine", "wire", "storage")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=ALL, action="append", help="this one, or these; all if not given")
    parser.add_argument(
        "--quick", action="store_true", help="fewer operations; without the storage's, which takes its time"
    )
    arguments = parser.parse_args()
    for name in arguments.only or ALL:
        if arguments.quick and name == "storage":
            continue
        print(f"== {name}", flush=True)
        command = [sys.executable, str(Path(__file__).with_name(f"{name}.py"))]
        done = subprocess.run(command + (["--quick"] if arguments.quick else []), check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
