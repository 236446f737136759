"""A node's folder and the data file in it: locking, creating and recognising.

The one danger here is a node that has forgotten promises: its peers still count on votes that it no longer knows of.
So a data file that cannot be read, is not this node's, or has lost something, is refused and never touched; only where
there was nothing a new one is made, and it appears complete or not at all.

Every row has a checksum (`checksum`). Those of `meta` and the journal are looked at in each start, those of records
when they are read; in a file that is not too large they are all read at the start, too.

`meta` says how far the node has come in its life: `incarnation` is the last that began, `closed` the last that was
closed. Both are in the data file itself before anything else is done. While they differ there has to be a WAL, which
holds what was committed last (`walfile`).
"""

import contextlib
import errno
import fcntl
import os
import sqlite3
import stat
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from paxoskv.core.errors import StorageError
from paxoskv.storage import checksum, walfile
from paxoskv.storage.contract import Identity

FILE = "paxoskv.db"
LOCK = "lock"
FORMAT = 3
APPLICATION_ID = 0x50584B56
"""`PXKV`, in the header of the file, so that a stranger's SQLite file is told from ours."""
PAGE_BYTES = 4096

_MAGIC = b"SQLite format 3\x00"
CHECKED_BYTES_MAX = 64 << 20
"""A file up to this size is read through at the start, in about half a second. In a larger one, what is damaged is
found when it is read, by the sweep if by nothing else."""

_TABLES: Final = {
    "journal": "CREATE TABLE journal (id INTEGER PRIMARY KEY, row BLOB NOT NULL, crc INTEGER NOT NULL)",
    "records": "CREATE TABLE records (key BLOB PRIMARY KEY, record BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "meta": "CREATE TABLE meta (name TEXT PRIMARY KEY, value, crc INTEGER NOT NULL) WITHOUT ROWID",
}
_FACTS: Final = {
    "format": int,
    "cluster": str,
    "node": int,
    "mode": str,
    "nodes": str,
    "uuid": str,
    "incarnation": int,
    "closed": int,
    "wal_bytes": int,
}

LOST = (
    "Put the intact data folder back (an older copy is not enough, it has forgotten promises). If there is none, leave "
    "this node off, the others go on as long as they are a majority, and copy the keys to a new cluster "
    "(docs/operating.md)."
)


def refusal(path: Path, what: str, way_out: str = LOST) -> StorageError:
    """The sentence for a file that cannot be used: `path` `what`. `way_out`"""
    return StorageError(f"{path} {what}. {way_out}")


def damaged_row(path: Path, table: str, row: str) -> StorageError:
    """The sentence for a row whose checksum is not that of its content."""
    return refusal(path, f"is damaged (the checksum of {row} in its table {table} is wrong)")


def named_key(key: Any) -> str:
    """What to call a record's row by, however long its key is."""
    return f"key {key[:64]!r}{'...' if len(key) > 64 else ''}" if type(key) is bytes else "a key"


def facts(pairs: Mapping[str, int | str]) -> tuple[str, list[int | str]]:
    """The statement that writes rows of `meta`, and its parameters."""
    sql = f"INSERT OR REPLACE INTO meta (name, value, crc) VALUES {','.join(['(?,?,?)'] * len(pairs))}"
    return sql, [column for name, value in pairs.items() for column in (name, value, checksum.of_fact(name, value))]


def is_for_want_of_room(path: Path, error: BaseException) -> bool:
    """Whether the operating system, or SQLite, found no room on the disk of the file at `path`."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        # The WAL's index could not grow. SQLite gives no errno, so the room is looked up.
        disk = os.statvfs(path.parent)
        return disk.f_bavail * disk.f_frsize < 1 << 20
    return bool(code & 0xFF == sqlite3.SQLITE_FULL)


def refusal_of_error(path: Path, error: BaseException) -> StorageError:
    """The sentence for an error that the operating system or SQLite gave."""
    if is_for_want_of_room(path, error):
        name = getattr(error, "sqlite_errorname", "") or getattr(error, "strerror", "")
        return refusal(path, f"cannot be written, the disk is full ({name})", "Make room on it and start again.")
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        primary = code & 0xFF
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            return refusal(path, f"is damaged ({name}: {error})")
        if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return refusal(
                path,
                f"cannot be opened for writing ({name}: {error})",
                "Give this process the right to write to the file and its folder, or name another data folder.",
            )
        if primary == sqlite3.SQLITE_BUSY:
            return refusal(path, f"is held by another program ({name})", "Stop that program and start again.")
        return refusal(path, f"cannot be used ({name}: {error})", "Check the disk and the system log. " + LOST)
    if isinstance(error, PermissionError):
        return refusal(
            path,
            f"may not be used by this process ({error.strerror})",
            "Give this process the right to read and write it, or name another data folder.",
        )
    if isinstance(error, OSError):
        return refusal(path, f"cannot be used ({error.strerror or error})", "Repair that, or name another data folder.")
    return refusal(path, f"cannot be used ({error!r})")


def lock(folder: Path) -> int:
    """Make the folder if it is missing and take it for this process; the file descriptor holds the lock.

    Comes before anything else, also because opening and closing the data file by hand would drop the POSIX
    locks that an SQLite connection of the same process holds on it.
    Raises StorageError when the folder cannot be used or another process has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise refusal(folder, "is a file, not a folder", "Name another data folder.") from None
    except NotADirectoryError:
        raise refusal(folder, "lies below a file, not a folder", "Name another data folder.") from None
    except OSError as error:
        raise refusal_of_error(folder, error) from error
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise refusal_of_error(folder / LOCK, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise refusal(
            folder,
            f"is in use by the process with pid {holder}",
            "Stop that process, or name another data folder.",
        ) from None
    except OSError as error:
        # A full disk is no reason to refuse: the lock is held, only the pid in it is missing.
        if error.errno == errno.ENOSPC:
            return descriptor
        os.close(descriptor)
        raise refusal_of_error(folder / LOCK, error) from error
    return descriptor


def prepare(path: Path, identity: Identity) -> None:
    """See to it that `path` is the data file of `identity`, made now if there was none.

    Raises StorageError, and then has changed nothing.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        _create(path, identity)
        return
    except OSError as error:
        raise refusal_of_error(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise refusal(path, "is no regular file", "Move it away, or name another data folder.")
    if found.st_size == 0:
        # Never made by us: creation renames a complete file. So something was here, and is gone.
        raise refusal(path, "is empty although data files never are, so its content has been lost")
    _check_header(path)
    _check_content(path, found.st_size, identity)


def _create(path: Path, identity: Identity) -> None:
    """Make the file under another name and rename it, so that a crash leaves either nothing or all of it."""
    for suffix in ("-wal", "-shm", "-journal"):
        leftover = path.with_name(path.name + suffix)
        if leftover.exists():
            raise refusal(path, f"is missing, but {leftover.name} is there, so it has existed and was lost")
    new = path.with_name(path.name + ".new")
    try:
        for name in (new.name, new.name + "-wal", new.name + "-shm", new.name + "-journal"):
            path.with_name(name).unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in _TABLES.values():
                connection.execute(statement)
            connection.execute(
                *facts(
                    {
                        "format": FORMAT,
                        "cluster": identity.cluster,
                        "node": identity.node,
                        "mode": identity.mode,
                        "nodes": _named(identity.nodes),
                        "uuid": str(uuid.uuid4()),
                        "incarnation": 0,
                        "closed": 0,
                        "wal_bytes": 0,
                    }
                )
            )
        _sync(new)
        os.rename(new, path)
        _sync(path.parent)
        # The folder may be new as well, and its own name is an entry in its parent, which may not be ours to read.
        with contextlib.suppress(PermissionError):
            _sync(path.parent.resolve().parent)
    except (OSError, sqlite3.Error) as error:
        raise refusal_of_error(path, error) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_header(path: Path) -> None:
    """What can be told from the first 100 bytes, read by hand: SQLite might write to what it opens."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise refusal_of_error(path, error) from error
    if header[:16] != _MAGIC:
        raise refusal(path, "is no SQLite file, or its beginning is damaged")
    if len(header) < 100:
        raise refusal(path, "is cut off: it ends within its header")
    application = int.from_bytes(header[68:72], "big")
    if application != APPLICATION_ID:
        raise refusal(
            path,
            f"is the SQLite file of another program (application id {application:#x})",
            "Name another data folder.",
        )
    version = int.from_bytes(header[60:64], "big")
    if version > FORMAT:
        raise refusal(
            path,
            f"has format {version}, newer than the {FORMAT} this version knows",
            "Run the version of paxoskv that wrote it, or a newer one.",
        )
    if version != FORMAT:
        raise refusal(
            path,
            f"has format {version}, and this version reads format {FORMAT} alone",
            "Run the version of paxoskv that wrote it, or begin a new cluster in another data folder.",
        )


def _check_content(path: Path, size: int, identity: Identity) -> None:
    wal = path.with_name(path.name + "-wal")
    index = path.with_name(path.name + "-shm")
    # Read-only, because closing a writing connection would carry the WAL over into a file that is about to
    # be refused. Immutable where nothing is in the WAL: no -wal or -shm are then left beside the file.
    pending = wal.exists() and wal.stat().st_size > 0
    flags = "mode=ro" if pending else "mode=ro&immutable=1"
    try:
        # Before SQLite opens it, and makes it anew.
        before = walfile.read_index(index)
        with contextlib.closing(sqlite3.connect(f"{uri(path)}?{flags}", uri=True)) as connection:
            # What has become text is damaged, and may not even be text.
            connection.text_factory = lambda data: data.decode(errors="replace")
            _check_tables(path, connection)
            if size <= CHECKED_BYTES_MAX:
                verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if verdict != "ok":
                    raise refusal(path, f"is damaged ({verdict})")
            meta = _check_meta(path, connection, identity)
            if meta["incarnation"] != meta["closed"] and not pending:
                raise refusal(
                    path,
                    f"was not closed when its node ended, and {wal.name} is gone, which held what was committed last",
                )
            if pending:
                _check_wal(path, wal, meta, before, walfile.read_index(index))
            _check_rows(path, connection, size)
    except UnicodeDecodeError as error:
        # In SQLite's own words about it.
        raise refusal(path, "is damaged (SQLite says why in words that are no text)") from error
    except (OSError, sqlite3.Error) as error:
        raise refusal_of_error(path, error) from error


def _check_tables(path: Path, connection: sqlite3.Connection) -> None:
    tables = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"))
    if missing := ", ".join(sorted(set(_TABLES) - set(tables))):
        raise refusal(path, f"lacks the tables {missing}")
    for name, sql in _TABLES.items():
        if tables[name] != sql:
            raise refusal(path, f"is damaged (its table {name} is declared in another way)")


def _check_meta(path: Path, connection: sqlite3.Connection, identity: Identity) -> dict[str, Any]:
    """The rows of `meta`, right ones and this node's."""
    meta: dict[str, Any] = {}
    for name, value, crc in connection.execute("SELECT name, value, crc FROM meta"):
        if not checksum.is_fact(name, value, crc):
            raise damaged_row(path, "meta", f"{name!r}")
        meta[name] = value
    for name, kind in _FACTS.items():
        if type(meta.get(name)) is not kind:
            raise refusal(path, f"does not say its {name}")
    for name, own in (("cluster", identity.cluster), ("node", identity.node), ("mode", identity.mode)):
        if meta[name] != own:
            raise refusal(
                path,
                f"belongs to {name} {meta[name]!r}, and this node was started with {name} {own!r}",
                f"Start it with {name} {meta[name]!r}, or name another data folder; "
                "the data of one node are never taken over by another.",
            )
    if meta["nodes"] != _named(identity.nodes):
        raise refusal(
            path,
            f"belongs to a cluster of the nodes {meta['nodes']}, and its cluster.toml has {_named(identity.nodes)} now",
            "Give it those that it began with: nodes cannot be added or removed yet, since majorities of different "
            "nodes need not meet (docs/operating.md).",
        )
    return meta


def _named(nodes: Iterable[int]) -> str:
    return ", ".join(map(str, nodes))


def _check_wal(
    path: Path, wal: Path, meta: Mapping[str, Any], before: walfile.Index | None, after: walfile.Index | None
) -> None:
    """Refuse a WAL that has lost what was committed; `before` and `after` SQLite has gone through it."""
    lost = f"{wal.name} has lost what was committed last"
    log = walfile.read_log(wal)
    if log is None:
        if meta["incarnation"] != meta["closed"]:
            raise refusal(path, f"was not closed when its node ended, and the beginning of {wal.name} is damaged")
        return
    if meta["incarnation"] != meta["closed"] and (size := wal.stat().st_size) < meta["wal_bytes"]:
        raise refusal(path, f"is not whole: {lost} (it has {size} bytes, and had {meta['wal_bytes']} at least)")
    frames = after.frames if after is not None and after.salt == log.salt else 0
    if before is not None and before.frames > frames and before.salt == log.salt:
        raise refusal(path, f"is not whole: {lost} ({frames} of {before.frames} frames can be read)")
    if before is not None and before.frames and before.is_newer_than(log.salt):
        raise refusal(path, f"is not whole: {lost} (it is an older one)")
    if log.commits_beyond(frames, 2) == 2:
        raise refusal(path, f"is not whole: {lost} (it is damaged behind its frame {frames})")


def _check_rows(path: Path, connection: sqlite3.Connection, size: int) -> None:
    # Only this, of the journal: its rows are read in each start anyway, by `replay`.
    [(first, last, count)] = connection.execute("SELECT min(id), max(id), count(*) FROM journal")
    if count and last - first + 1 != count:
        raise refusal(path, "is damaged (the journal has a gap)")
    if size > CHECKED_BYTES_MAX:
        return
    connection.text_factory = lambda _: None
    for key, record, crc in connection.execute("SELECT key, record, crc FROM records"):
        if not checksum.is_record(key, record, crc):
            raise damaged_row(path, "records", named_key(key))


def uri(path: Path) -> str:
    """The path as SQLite's `file:` URI, without parameters."""
    return "file:" + quote(str(path.absolute()))
