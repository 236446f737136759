"""One connection: commands to the engine, answers back in the order of the commands.

Commands of one connection on different keys go to the engine together; one that touches a key on which an earlier one
still waits, waits too, and all behind it. So a client sees its own writes, whatever it pipelines.
"""

import asyncio
from collections import deque
from typing import Final, cast

from paxoskv.core.operations import SETRANGE, Operation, Result
from paxoskv.core.scan import ScanOperation
from paxoskv.redis import replies
from paxoskv.redis.commands import find
from paxoskv.redis.commands.table import Finish, Plan, Refusal
from paxoskv.redis.host import Host
from paxoskv.redis.parser import Parser, RespError
from paxoskv.redis.session import OFF, ON, SKIP, SKIP_NEXT, Session, Sessions

OPERATION_S_MAX: Final = 2.0
"""An operation that is not decided by then is answered with an error: redis-py takes five seconds of silence
for a reason to send it again."""
_CALLS_MAX: Final = 1024
"""Commands of one connection that are not answered, past which it is not read from."""
_UNREAD_BYTES_MAX: Final = 64 * 1024 * 1024
_WRITE_BYTES: Final = 1024 * 1024


_HTTP: Final = frozenset((b"post", b"host:"))


class _Call:
    """One command that was not answered yet."""

    __slots__ = ("finish", "left", "protocol", "reply", "results", "silent")

    def __init__(self, reply: bytes | None, silent: bool, protocol: int) -> None:
        self.reply = reply
        self.silent = silent
        self.protocol = protocol
        self.finish: Finish | None = None
        self.left = 0
        self.results: list[Result] = []


class RedisConnection(asyncio.Protocol):
    """A client that speaks RESP."""

    def __init__(self, host: Host, sessions: Sessions) -> None:
        self._host = host
        self._sessions = sessions
        self._parser = Parser(host.value_bytes_max)
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._calls: deque[_Call] = deque()
        self._commands: deque[list[bytes]] = deque()
        self._places: dict[int, tuple[_Call, int, bytes]] = {}
        """Call, index of the result and key by the number of an operation."""
        self._busy: dict[bytes, int] = {}
        """Keys on which operations wait."""
        self._number = 0
        self._submitting: list[Operation] = []
        self._writable = self._reading = True
        self._ended = False
        self._refusal = ""
        self._flush_due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BYTES)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        session = self._session = Session(self._host, self._sessions, _address(peer), _address(own))
        session.pending = self._calls.__len__
        self._sessions.add(session)
        self._sessions.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._session is not None:
            self._sessions.remove(self._session)
        self._sessions.connections.discard(self)

    def pause_writing(self) -> None:
        self._writable = False
        self._throttle()

    def resume_writing(self) -> None:
        self._writable = True
        self._proceed()

    def data_received(self, data: bytes) -> None:
        self._read(data)
        self._proceed()

    def _read(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            self._commands.extend(self._parser.feed(data, _CALLS_MAX))
        except RespError as error:
            self._commands.extend(error.commands)
            self._commands.append([])
            self._refusal = f"ERR {error}"

    def _proceed(self) -> None:
        """Take on as many commands as may be in flight, and answer what is done."""
        while not self._ended and len(self._calls) < _CALLS_MAX and self._writable:
            if not self._commands:
                self._read(b"")
                if not self._commands:
                    break
            command = self._commands[0]
            if command and command[0].lower() in _HTTP:
                # A browser was talked into it: what comes next could be anything.
                self._calls.append(_Call(replies.error("ERR this is no web server"), False, 2))
                self._ended = True
                break
            if not command:
                self._calls.append(_Call(replies.error(self._refusal), False, 2))
                self._ended = True
                break
            if not self._take(command):
                break
            self._commands.popleft()
        if self._submitting:
            operations, self._submitting = self._submitting, []
            self._host.submit(operations)
        self.flush()
        self._throttle()

    def _take(self, command: list[bytes]) -> bool:
        """Begin a command. False if it has to wait for a key, or for all that came before."""
        session = self._session
        assert session is not None
        try:
            found = find(command)
            arguments = command[1:]
            keys = found.keys(arguments)
            if self._busy and (found.covers_all or _EVERY in self._busy or any(key in self._busy for key in keys)):
                return False
            for key in keys:
                if not key or len(key) > self._host.key_bytes_max:
                    raise Refusal(f"ERR a key has 1 to {self._host.key_bytes_max} bytes, this one {len(key)}")
            self._sessions.commands_processed += 1
            session.last_command, session.last_command_at = found.name, self._host.now()
            if session.replies == SKIP_NEXT:
                session.replies = SKIP
            outcome = found.handler(session, arguments)
            if isinstance(outcome, Plan):
                self._check(outcome)
        except Refusal as refusal:
            outcome = replies.error(str(refusal))
        silent = session.replies in (OFF, SKIP)
        if session.replies == SKIP:
            session.replies = ON
        if isinstance(outcome, bytes):
            self._calls.append(_Call(outcome, silent, session.protocol))
            self._ended = session.closing
            return True
        call = _Call(None, silent, session.protocol)
        self._calls.append(call)
        if found.covers_all:
            self._busy[_EVERY] = 1
        self._carry_out(call, outcome)
        return True

    def _carry_out(self, call: _Call, plan: Plan) -> None:
        call.finish = plan.finish
        call.left = len(plan.operations)
        call.results = [_NOTHING] * call.left
        deadline = self._host.now() + OPERATION_S_MAX
        for index, operation in enumerate(plan.operations):
            self._number += 1
            operation.deadline = deadline
            operation.reply = (self, self._number)
            self._places[self._number] = call, index, operation.key
            if _EVERY not in self._busy:
                self._busy[operation.key] = self._busy.get(operation.key, 0) + 1
            if isinstance(operation, ScanOperation):
                self._host.scan(operation)
            else:
                self._submitting.append(operation)

    def _check(self, plan: Plan) -> None:
        if self._host.stopping:
            raise Refusal("TRYAGAIN the node is stopping; use another one")
        for operation in plan.operations:
            argument = operation.argument
            if type(argument) is bytes and operation.kind != SETRANGE and len(argument) > self._host.value_bytes_max:
                raise Refusal(f"ERR a value has at most {self._host.value_bytes_max} bytes")

    def completed(self, number: int, status: int, value: bytes | int | None, version: int, expires_at: int) -> bool:
        """An operation is done. True when `flush` has to be called in this turn, for the first time."""
        call, index, key = self._places.pop(number)
        call.results[index] = Result(status, value, version, expires_at)
        call.left -= 1
        if _EVERY not in self._busy:
            if self._busy[key] == 1:
                del self._busy[key]
            else:
                self._busy[key] -= 1
        if not call.left:
            assert call.finish is not None
            outcome = call.finish(call.results, call.protocol)
            if isinstance(outcome, Plan):
                self._carry_out(call, outcome)
            else:
                call.reply = outcome
                self._busy.pop(_EVERY, None)
        first, self._flush_due = not self._flush_due, True
        return first

    def flush(self) -> None:
        """Write the answers that are complete, up to the first that is not; go on with what waited for them."""
        due, self._flush_due = self._flush_due, False
        calls = self._calls
        ready: list[bytes] = []
        while calls and calls[0].reply is not None:
            call = calls.popleft()
            if not call.silent:
                ready.append(cast(bytes, call.reply))
        transport = self._transport
        if transport is not None and not transport.is_closing():
            if ready:
                transport.write(b"".join(ready))
                if not self._writable and transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
                    transport.abort()
            if self._ended and not calls:
                transport.close()
        if due:
            self._proceed()

    def _throttle(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        reading = self._writable and not self._commands and len(self._calls) < _CALLS_MAX
        if reading != self._reading:
            self._reading = reading
            if reading:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def close(self) -> None:
        """Send what is written, then close."""
        if self._transport is not None:
            self._transport.close()


_EVERY: Final = b""
"""In place of a key, while a command is about all of them: no key is empty."""
_NOTHING: Final = Result(0, None, 0)


def _address(name: object) -> str:
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "?"
