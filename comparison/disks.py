"""Disks that can hang or be slow, the same way for every system.

A disk that hangs: each node has a small file system of its own, in a file behind a loop device, and `fsfreeze` makes
everything that writes to it wait, as a controller does that no longer answers. That needs root. A slow disk: `strace`
delays each fsync and fdatasync; with its seccomp filter other system calls are not slowed down.
"""

import contextlib
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Final

from comparison.processes import Missing

_BYTES: Final = 3 << 30
_PROBES: Final = 60


class Disks:
    """One file system for each node. `stop` gives everything back."""

    def __init__(self, folder: Path, count: int) -> None:
        """Raises Missing where there are no loop devices, or one may not mount them."""
        self.folders: list[Path] = []
        self._frozen: set[int] = set()
        if os.geteuid() or not shutil.which("fsfreeze"):
            raise Missing("a disk that hangs needs root, fsfreeze and loop devices")
        try:
            for number in range(1, count + 1):
                image, place = folder / f"disk-{number}.img", folder / f"disk-{number}"
                with image.open("wb") as file:
                    file.truncate(_BYTES)
                place.mkdir()
                _run("mkfs.ext4", "-q", "-F", str(image))
                _run("mount", "-o", "loop", str(image), str(place))
                self.folders.append(place)
                # Not to be mistaken for a node's data.
                (place / "lost+found").rmdir()
        except BaseException:
            self.stop()
            raise

    def freeze(self, number: int) -> None:
        """Have every writer wait."""
        _run("fsfreeze", "--freeze", str(self.folders[number - 1]))
        self._frozen.add(number)

    def thaw(self, number: int) -> None:
        """Undo `freeze`."""
        self._frozen.discard(number)
        _run("fsfreeze", "--unfreeze", str(self.folders[number - 1]))

    def thaw_all(self) -> None:
        """Before processes are stopped: who waits for a disk cannot be killed."""
        for number in list(self._frozen):
            self.thaw(number)

    def stop(self) -> None:
        """Unmount everything, when no process uses it any more."""
        self.thaw_all()
        for place in self.folders:
            with contextlib.suppress(Missing):
                _run("umount", str(place))
        self.folders = []


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}")


def sync_ms(folder: Path) -> float:
    """What an fdatasync of a few bytes takes there, the median."""
    path = folder / "probe"
    times = []
    with path.open("wb", buffering=0) as file:
        file.write(bytes(4096))
        os.fsync(file.fileno())
        for _ in range(_PROBES):
            began = time.perf_counter()
            os.pwrite(file.fileno(), b"probe", 0)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(times) * 1000


def slowed(milliseconds: float) -> list[str]:
    """What to run a node by, so that its disk takes so much longer. Raises Missing."""
    if not shutil.which("strace"):
        raise Missing("a slow disk needs strace; on Debian: apt-get install strace")
    delay = f"inject=fsync,fdatasync:delay_enter={int(milliseconds * 1000)}"
    # -D: the node is our child, not strace's.
    return ["strace", "-D", "-f", "-q", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", delay]
