"""How near SqliteStorage comes to a bare file: `python bench/storage.py [--json]`, under a minute.

First, one writer that waits for each commit, against a preallocated file with pwrite and fdatasync in the loop's own
thread: the same number of syncs, by turns, so that a slow spell of the disk meets both. Then the tail while
folds, trims and checkpoints go on. The absolute figures hold for no other machine, the ratios rather do. Not measured:
many concurrent writers (group commit makes those cheap), a file much larger than memory, another program on the disk.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage

ROUNDS = 5
COMMITS = 300
EXTENT_BYTES = 32 << 20
LOAD_S = 6.0


def percentile(times: list[float], share: float) -> float:
    """In milliseconds, of a list in seconds."""
    return round(1e3 * sorted(times)[min(len(times) - 1, int(len(times) * share))], 3)


def summary(times: list[float]) -> dict[str, float]:
    return {
        "per_s": round(len(times) / sum(times)),
        "p50_ms": percentile(times, 0.5),
        "p99_ms": percentile(times, 0.99),
        "p999_ms": percentile(times, 0.999),
        "max_ms": percentile(times, 1.0),
    }


class Writer:
    """One client of a storage: appends a row, waits until it is on disk."""

    def __init__(self, storage: SqliteStorage) -> None:
        self.storage = storage
        self.sequence = 0
        self._waiting: asyncio.Future[None] | None = None
        storage.on_committed = self._on_committed

    def _on_committed(self, sequence: int) -> None:
        if self._waiting is not None and sequence == self.sequence:
            self._waiting.set_result(None)

    async def write(self, row: bytes) -> float:
        self._waiting = asyncio.get_running_loop().create_future()
        self.sequence += 1
        begin = time.perf_counter()
        self.storage.append(self.sequence, row)
        await self._waiting
        return time.perf_counter() - begin


async def against_a_bare_file(folder: Path, row_bytes: int) -> dict[str, Any]:
    storage = await SqliteStorage.open(folder, Identity("bench", 1, "paxos"))
    writer = Writer(storage)
    bare = os.open(folder / "bare", os.O_RDWR | os.O_CREAT)
    row = os.urandom(row_bytes)
    ours: list[float] = []
    bares: list[float] = []
    try:
        os.pwrite(bare, bytes(EXTENT_BYTES), 0)
        os.fsync(bare)
        offset = 0
        for _ in range(ROUNDS):
            ours += [await writer.write(row) for _ in range(COMMITS)]
            for _ in range(COMMITS):
                begin = time.perf_counter()
                os.pwrite(bare, row, offset)
                os.fdatasync(bare)
                bares.append(time.perf_counter() - begin)
                offset = (offset + row_bytes) % (EXTENT_BYTES - row_bytes)
    finally:
        os.close(bare)
        await storage.close()
    ratio = round(percentile(ours, 0.5) / percentile(bares, 0.5), 2)
    return {"row_bytes": row_bytes, "sqlite": summary(ours), "bare": summary(bares), "p50_ratio": ratio}


async def tail(folder: Path, row_bytes: int, tidy: bool) -> dict[str, Any]:
    """Constant appends; with `tidy`, folds and trims all the time, as no node would."""
    storage = await SqliteStorage.open(folder, Identity("bench", 1, "paxos"))
    writer = Writer(storage)
    row = os.urandom(row_bytes)
    times: list[float] = []

    async def fold_and_trim() -> None:
        number = 0
        while True:
            boundary = storage.boundary()
            for _ in range(20):
                await storage.fold([(b"key %08d" % ((number + n) * 7919 % 100_000), row) for n in range(50)])
                number += 50
                await asyncio.sleep(0.01)
            await storage.trim(boundary)

    tidying = asyncio.ensure_future(fold_and_trim()) if tidy else None
    end = time.perf_counter() + LOAD_S
    while time.perf_counter() < end:
        times.append(await writer.write(row))
    if tidying is not None:
        tidying.cancel()
    status = storage.status()
    await storage.close()
    kept = ("checkpoints", "folds", "wal_bytes", "journal_bytes")
    return {
        "row_bytes": row_bytes,
        "fold_and_trim": tidy,
        **summary(times),
        **{name: status[name] for name in kept},
    }


async def measure() -> dict[str, Any]:
    # Beside the checkout, not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as folder:
        single = [await against_a_bare_file(Path(folder) / f"bare-{size}", size) for size in (200, 4_000, 40_000)]
        tails = [
            await tail(Path(folder) / f"tail-{size}-{tidy}", size, tidy)
            for size in (200, 4_000)
            for tidy in (False, True)
        ]
    return {"single_writer": single, "tail": tails}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    found = uvloop.run(measure())
    if arguments.json:
        print(json.dumps(found))
        return
    for line in found["single_writer"]:
        print(f"{line['row_bytes']:6} bytes  p50 ratio {line['p50_ratio']}")
        for name in ("sqlite", "bare"):
            print(f"    {name:7}", line[name])
    for line in found["tail"]:
        print("tail", line)


if __name__ == "__main__":
    main()
