"""From a configuration to a running node, and to its end."""

import asyncio
import errno
import gc
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from paxoskv.core.address import Address
from paxoskv.core.errors import ConfigurationError, StorageError
from paxoskv.net import loops
from paxoskv.server.clients import ClientPort
from paxoskv.server.config import ClusterConfig, Options, override
from paxoskv.server.logs import NodeLog
from paxoskv.server.modes import MODES
from paxoskv.server.node import TASK_FAILED, Node
from paxoskv.server.peers import PeerConnection
from paxoskv.server.signals import ending_signals
from paxoskv.server.tracing import TracedNode
from paxoskv.storage.contract import Identity
from paxoskv.storage.sqlite import SqliteStorage

DRAIN_S_MAX: Final = 10.0
_CLOSE_S_MAX: Final = 5.0
# What hangs is no reason to go on: a standard error that nobody reads, as little as a disk.
_LAST_WORDS_S_MAX: Final = 0.5
EXIT_FAILED_COMMIT: Final = 70


async def serve(config: ClusterConfig, number: int, options: Options) -> int:
    """Run one node until SIGTERM or SIGINT; answers the exit code. Raises ConfigurationError and StorageError."""
    # First of all: a node may be stopped while it starts, too.
    stop = _Stop(options.stop_with_stdin)
    log = NodeLog(number, options.log_level)
    try:
        return await _serve_with(log, config, number, options, stop)
    finally:
        log.flush()


async def _serve_with(log: NodeLog, config: ClusterConfig, number: int, options: Options, stop: "_Stop") -> int:
    started = time.monotonic()
    own = override(config.node(number), options.overrides)
    config.nodes[number] = own
    identity = Identity(config.cluster, number, config.mode, tuple(sorted(config.nodes)))
    opening = asyncio.ensure_future(SqliteStorage.open(own.data, identity, fault_injection=options.fault_injection))
    if not await stop.holds_off_for(opening):
        try:
            # Not cancelled: what has begun to write is to be closed in order.
            async with asyncio.timeout(_CLOSE_S_MAX):
                await asyncio.wait([opening])
        except TimeoutError:
            _die(log, "stopped before it was ready: the disk hangs", path=own.data)
    storage = await opening

    def failed(error: BaseException) -> NoReturn:
        # Whatever the disk says next time, what it holds now is unknown (D2). The only safe thing is to begin again
        # from what can be read back.
        _die(log, "commit failed, the process ends", error=repr(error), path=own.data)

    storage.on_failed = failed
    try:
        left = await _serve_from(storage, config, number, options, log, stop, started)
    finally:
        try:
            async with asyncio.timeout(_CLOSE_S_MAX):
                await storage.close()
        except TimeoutError:
            reason = "is full" if storage.disk_full else "hangs"
            _die(log, f"stopped without a last commit: the disk {reason}", path=own.data)
    log.info("stopped", operations_unfinished=left)
    return 0


def _die(log: NodeLog, event: str, **fields: Any) -> NoReturn:
    """Say why, and end at once: nothing more is sent, and nothing written."""
    log.error(event, **fields)
    log.flush(_LAST_WORDS_S_MAX)
    os._exit(EXIT_FAILED_COMMIT)


async def _serve_from(
    storage: SqliteStorage,
    config: ClusterConfig,
    number: int,
    options: Options,
    log: NodeLog,
    stop: "_Stop",
    started: float,
) -> int:
    """Serve from an open disk until the end is wanted; answers how many operations were left unfinished then."""
    own = config.node(number)
    mode = MODES[config.mode]
    engine = mode.build(config, number, options, storage)
    make = Node if options.trace is None else TracedNode
    node = make(config, number, options, storage, engine, mode.codec, log)
    recovering = asyncio.ensure_future(node.recover())
    if not await stop.holds_off_for(recovering):
        recovering.cancel()
        await asyncio.wait([recovering])
        log.info("stopping before it is ready")
        return 0
    rows = await recovering

    def on_exception(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), OSError) and context.get("message") != TASK_FAILED:
            # The world's doing, such as no file descriptors left for another connection. It passes.
            log.warning("network trouble", message=context.get("message"), error=str(context["exception"]))
            return
        if isinstance(context.get("exception"), StorageError):
            # A page that is broken, of a file too large to be checked as a whole at the start.
            _die(log, "storage failed, the process ends", error=str(context["exception"]), path=own.data)
        # An assert that failed, or anything else nobody expected: state may be wrong, so nothing more is sent.
        log.traceback(context.get("exception"))
        _die(log, "bug, the process ends", message=context.get("message"), error=repr(context.get("exception")))

    asyncio.get_running_loop().set_exception_handler(on_exception)
    servers = [
        await _listen(own.listen_client, lambda: ClientPort(node), "client"),
        await _listen(own.listen_peer, lambda: PeerConnection(node), "peer"),
    ]
    node.start()
    _tune()
    if reason := loops.why_slower():
        log.warning("runs on asyncio's own event loop, which is slower", reason=reason)
    log.info(
        "ready",
        client=own.client,
        peer=own.peer,
        data=own.data,
        incarnation=storage.incarnation,
        replayed_rows=rows,
        start_s=time.monotonic() - started,
    )
    await stop.wanted.wait()
    log.info("stopping", operations_in_flight=engine.status()["operations_in_flight"])
    servers[0].close()
    left = await node.drain(DRAIN_S_MAX)
    servers[1].close()
    await node.stop()
    return left


class _Stop:
    """Whether this process is wanted to end: by a signal, or by whoever holds the other end of its stdin."""

    def __init__(self, with_stdin: bool) -> None:
        self.wanted = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in ending_signals():
            self._loop.add_signal_handler(number, self.wanted.set)
        if with_stdin:
            self._loop.add_reader(sys.stdin.fileno(), self._on_stdin)

    def _on_stdin(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            self._loop.remove_reader(sys.stdin.fileno())
            self.wanted.set()

    async def holds_off_for(self, work: "asyncio.Future[Any]") -> bool:
        """Wait until `work` is done, or the end is wanted: False then, and the work goes on."""
        wanted = self._loop.create_task(self.wanted.wait())
        await asyncio.wait({work, wanted}, return_when=asyncio.FIRST_COMPLETED)
        wanted.cancel()
        return not self.wanted.is_set()


async def _listen(address: Address, factory: Callable[[], asyncio.Protocol], what: str) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(factory, address.host, address.port, backlog=1024)
    except OSError as error:
        # The numbers of a name's resolution are none of the system's.
        if isinstance(error, socket.gaierror):
            raise ConfigurationError(
                f"the {what} port {address} cannot be listened on: {error.strerror}; give an address of this machine, "
                f"in cluster.toml or with --listen-{what}"
            ) from None
        reason = os.strerror(error.errno) if error.errno else error.strerror or str(error)
        way_out = {
            errno.EADDRINUSE: "stop what uses it, or give another address",
            errno.EADDRNOTAVAIL: "where others reach this machine at an address that it does not have, say what it is "
            f"to bind with listen_{what} in cluster.toml, or --listen-{what}",
        }
        raise ConfigurationError(
            f"the {what} port {address} cannot be listened on: {reason}; "
            + way_out.get(error.errno or 0, "give another address")
        ) from None


def _tune() -> None:
    """Keep the interpreter out of the latency: what lives now lives on, and hardly anything here is in a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
