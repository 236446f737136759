"""Does `paxoskv verify` notice clusters that are broken on purpose? `python tests/verify/sabotage.py [SEEDS]`.

Not one of the tests: how soon a live cluster is caught is a matter of luck, and each round takes its time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CANARIES = (
    "acceptance acknowledged before its commit",
    "promise check skipped on accept",
    "read answered from the local copy",
)


def verdict(canary: str, seed: int, out: Path) -> tuple[str, float]:
    """The verdict of one round on nodes with a canary, and the seconds it took."""
    began = time.monotonic()
    path = os.pathsep.join([str(HERE / "sabotaged"), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-m", "paxoskv", "verify", "--duration", "15", "--seed", str(seed), "--out", str(out)],
        env={**os.environ, "PYTHONPATH": path, "PAXOSKV_TEST_CANARY": canary},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    summary = out / "summary.json"
    found = json.loads(summary.read_text())["verdict"] if summary.exists() else "the round did not end"
    return str(found), time.monotonic() - began


def main() -> None:
    """Print, for each canary, the seed that caught it."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for canary in CANARIES:
        total = 0.0
        for seed in range(1, seeds + 1):
            with tempfile.TemporaryDirectory() as folder:
                found, seconds = verdict(canary, seed, Path(folder) / "out")
            total += seconds
            if found == "illegal":
                print(f"{canary}: caught by seed {seed} after {total:.0f} s", flush=True)
                break
        else:
            print(f"{canary}: not caught by {seeds} seeds in {total:.0f} s, the last verdict was {found!r}", flush=True)


if __name__ == "__main__":
    main()
