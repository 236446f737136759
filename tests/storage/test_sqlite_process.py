"""What only a real process shows: being killed, hanging, a failing fsync, and what reaches the kernel when."""

# ruff: noqa: ASYNC220, ASYNC221
# Waiting for a child blocks the loop, and nothing else runs on it.

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from paxoskv.core.errors import StorageError
from paxoskv.storage import sqlite
from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage

NODE = Identity("cluster-1", 1, "paxos", (1, 2, 3))

HEAD = """
import asyncio, os, sys
from pathlib import Path
import uvloop
from paxoskv.storage import sqlite
from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage
FOLDER, NODE = Path(sys.argv[1]), Identity("cluster-1", 1, "paxos", (1, 2, 3))
def say(text):
    os.write(1, text.encode() + b"\\n")
"""

# Appends numbered rows without end, folds and trims meanwhile, and says what it was told is committed.
WRITER = (
    HEAD
    + """
sqlite.CHECKPOINT_FRAMES = 300
async def main():
    storage = await SqliteStorage.open(FOLDER, NODE)
    committed = asyncio.Event()
    def on_committed(sequence):
        say(f"committed {sequence}")
        committed.set()
    storage.on_committed = on_committed
    async def fold_and_trim():
        while True:
            boundary = storage.boundary()
            await storage.fold([(b"key %d" % n, os.urandom(700)) for n in range(40)])
            say(f"trimming {boundary}")
            await storage.trim(max(0, boundary - 20))
    tidy = asyncio.ensure_future(fold_and_trim())
    sequence = 0
    while True:
        for _ in range(3):
            sequence += 1
            storage.append(sequence, b"%d." % sequence + bytes(sequence * 37 % 9000))
        committed.clear()
        await committed.wait()
uvloop.run(main())
"""
)


@pytest.mark.parametrize("reports", [1, 40, 700])
async def test_after_sigkill_every_reported_row_is_there_in_order(
    tmp_path: Path, read_journal: Any, reports: int
) -> None:
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    heard: list[int] = []
    with child.stdout as lines:
        for line in lines:
            if line.startswith(b"committed"):
                heard.append(int(line.split()[1]))
                if len(heard) == reports:
                    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    storage = await SqliteStorage.open(tmp_path, NODE)
    rows = await read_journal(storage)
    numbers = [int(row.partition(b".")[0]) for row in rows]
    assert rows == [b"%d." % n + bytes(n * 37 % 9000) for n in numbers]
    # Without gaps, from where the trim had come to, and nothing missing that was reported.
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] <= heard[-1] <= numbers[-1]
    assert storage.incarnation == 2
    await storage.close()


def test_a_process_with_a_hung_disk_can_end(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
async def main():
    storage = await SqliteStorage.open(FOLDER, NODE, fault_injection=True)
    storage.stall(True)
    storage.append(1, b"row")
    loading = asyncio.ensure_future(storage.load([b"k"]))
    try:
        await asyncio.wait_for(storage.close(), 0.1)
    except TimeoutError:
        say("gave up")
uvloop.run(main())
say("end")
"""
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=20)
    assert done.stdout == "gave up\nend\n", done.stderr
    assert done.returncode == 0


async def test_another_process_is_named_by_its_pid(tmp_path: Path) -> None:
    script = HEAD + (
        "async def main():\n    await SqliteStorage.open(FOLDER, NODE)\n"
        "    say('open')\n    sys.stdin.read()\n    os._exit(0)\nasyncio.run(main())\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(StorageError, match=f"in use by the process with pid {child.pid}") as refused:
            await SqliteStorage.open(tmp_path, NODE)
        assert str(tmp_path) in str(refused.value)
    finally:
        child.communicate()
    # The lock went with the process, though its file is still there.
    storage = await SqliteStorage.open(tmp_path, NODE)
    await storage.close()


# A disk whose fsync fails from the moment that a file called `broken` appears.
SHIM = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>
static int broken(void) { return access(getenv("BROKEN"), F_OK) == 0; }
int fdatasync(int fd) { if (broken()) { errno = EIO; return -1; } return syscall(SYS_fdatasync, fd); }
int fsync(int fd) { if (broken()) { errno = EIO; return -1; } return syscall(SYS_fsync, fd); }
"""

FSYNC = (
    HEAD
    + """
async def main():
    storage = await SqliteStorage.open(FOLDER, NODE)
    told = asyncio.Event()
    def on_committed(sequence):
        say(f"committed {sequence}")
        told.set()
    def on_failed(error):
        say(f"failed {error.__cause__.sqlite_errorname}")
        told.set()
    storage.on_committed, storage.on_failed = on_committed, on_failed
    storage.append(1, b"good")
    await told.wait()
    open(os.environ["BROKEN"], "x").close()
    told.clear()
    CHANGE
    await told.wait()
    os.unlink(os.environ["BROKEN"])  # the next fsync would claim success, as Linux does
    storage.append(4, b"late")
    try:
        await storage.fold([(b"k", b"v")])
    except Exception as error:
        say(type(error).__name__)
    await asyncio.sleep(0)
    say(f"commits {storage.status()['commits']}")
    os._exit(0)
uvloop.run(main())
"""
)


@pytest.mark.parametrize(
    "change",
    ["storage.append(2, b'bad'); storage.append(3, b'queued')", "storage._checkpoint_due.set()"],
    ids=["of a commit", "of a checkpoint"],
)
async def test_a_failed_fsync_ends_all_writing(tmp_path: Path, change: str, read_journal: Any) -> None:
    """(D2)"""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "shim.c").write_text(SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, tmp_path / "shim.c"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", FSYNC.replace("CHANGE", change), str(tmp_path / "data")],
        env={**os.environ, "LD_PRELOAD": str(shim), "BROKEN": str(tmp_path / "broken")},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout.splitlines() == [
        "committed 1",
        "failed SQLITE_IOERR_FSYNC",
        "StorageError",
        "commits 1",
    ], done.stderr
    storage = await SqliteStorage.open(tmp_path / "data", NODE)
    rows = await read_journal(storage)
    # What was in flight when the fsync failed may have got through; nothing later, and nothing is missing.
    assert rows in ([b"good"], [b"good", b"bad", b"queued"])
    await storage.close()


def test_every_report_has_an_fsync_after_its_write(tmp_path: Path) -> None:
    """(D1), as the kernel saw it: write to the WAL, sync of the WAL, report."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    script = HEAD + textwrap.dedent("""
            async def main():
                storage = await SqliteStorage.open(FOLDER, NODE)
                told = asyncio.Event()
                def on_committed(sequence):
                    say(f"report {sequence}")
                    told.set()
                storage.on_committed = on_committed
                for sequence in range(1, 21):
                    told.clear()
                    say(f"append {sequence}")
                    storage.append(sequence, b"marker-%03d" % sequence)
                    await told.wait()
                await storage.close()
            uvloop.run(main())
        """)
    trace = tmp_path / "trace"
    done = subprocess.run(
        [
            *("strace", "-f", "-y", "-s", "64", "-o", str(trace), "-e", "trace=fdatasync,fsync,pwrite64,write"),
            *(sys.executable, "-c", script, str(tmp_path / "data")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip("may not trace here")
    assert done.returncode == 0, done.stderr
    state, reports = "", 0
    for line in trace.read_text().splitlines():
        if '"append ' in line:
            state = "appended"
        elif "pwrite64(" in line and "paxoskv.db-wal" in line and state:
            state = "written"
        elif ("fdatasync(" in line or "fsync(" in line) and "paxoskv.db-wal" in line and state == "written":
            # The call begins here; where it is torn in two lines, its result comes in a second.
            state = "syncing" if "unfinished" in line else "synced"
        elif "sync resumed>" in line and state == "syncing":
            assert line.rstrip().endswith("= 0")
            state = "synced"
        elif '"report ' in line:
            assert state == "synced", f"reported when only {state}: {line}"
            reports += 1
            state = ""
    assert reports == 20


async def test_a_file_removed_or_replaced_under_the_running_node_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would go on writing to the removed file, and every promise from then on would be lost."""
    monkeypatch.setattr(sqlite, "TEND_S", 0.02)
    for number, (name, replace) in enumerate([("paxoskv.db", False), ("paxoskv.db", True), ("paxoskv.db-wal", False)]):
        folder = tmp_path / str(number)
        storage = await SqliteStorage.open(folder, NODE)
        failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        storage.on_failed = failed.set_result
        storage.append(1, b"row")
        (folder / name).rename(folder / "away")
        if replace:
            shutil.copyfile(folder / "away", folder / name)
        async with asyncio.timeout(20):
            error = await failed
        assert str(folder / name) in str(error)
        assert ("replaced" if replace else "vanished") in str(error)
        with pytest.raises(StorageError):
            await storage.fold([(b"k", b"v")])
        # Closing touches nothing: by now the names may be another's.
        files = sorted(os.listdir(folder))
        await storage.close()
        assert sorted(os.listdir(folder)) == files
