"""One connection: commands to the engine, answers back in the order of the commands.

Commands of one connection on different keys go to the engine together, and so do unconditional changes of one key,
which an engine makes in the order in which it is given them. Any other command on a key on which an earlier one still
waits, waits too; those on other keys overtake it, unless it has several keys. So a client sees its own writes, whatever
it pipelines.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, cast

from paxoskv.core.operations import ERROR_STATUS_MIN, GET, SETRANGE, Operation, Result
from paxoskv.core.scan import ScanOperation
from paxoskv.net.unread import Unread
from paxoskv.redis import replies
from paxoskv.redis.commands import find
from paxoskv.redis.commands.table import Call, One, Plan, Refusal, TransactionRefusal, failure, too_large
from paxoskv.redis.host import Host
from paxoskv.redis.parser import COMMAND_BYTES_MAX, Parser, RespError
from paxoskv.redis.session import OFF, ON, SKIP, SKIP_NEXT, Session, Sessions
from paxoskv.redis.transaction import RefusedTransaction

OPERATION_S_MAX: Final = 3.0
"""An operation that is not decided by then is answered with an error: redis-py takes five seconds of silence
for a reason to send it again."""
UNREAD_S_MAX: Final = 60.0
"""How long a client may read nothing of what it is owed."""
_WRITE_BYTES: Final = 1024 * 1024
_CALLS_MAX: Final = 256
"""Commands of one connection that are not answered, past which it is not read from;"""
_CALLS_LARGE_MAX: Final = 16
"""and while its answers are large."""
_LARGE_BYTES: Final = 1024 * 1024
_PLANS_MAX: Final = 16
"""Those of several keys among them, each of which may have an answer of 64 MiB."""
_COMMANDS_AT_ONCE: Final = 256
"""Past so many the node does something else in between."""

_HTTP: Final = frozenset((b"post", b"host:"))


class RedisConnection(asyncio.Protocol):
    """A client that speaks RESP."""

    def __init__(self, host: Host, sessions: Sessions) -> None:
        self._host = host
        self._sessions = sessions
        self._parser = Parser(COMMAND_BYTES_MAX)
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._calls: deque[Call] = deque()
        self._calls_max = _CALLS_MAX
        self._commands: deque[list[bytes]] = deque()
        self._busy: dict[bytes, int] = {}
        """Keys on which commands wait, and how many unconditional changes these are; _ONE_ELSE if it is another one."""
        self._behind: dict[bytes, deque[tuple[One, bool]]] = {}
        """Commands that wait for a busy key, in their order, and whether each is an unconditional change."""
        self._alone: Call | None = None
        """The command that is about all keys, while it waits."""
        self._submitting: list[Operation] = []
        self._transaction: RefusedTransaction | None = None
        self._writable = self._reading = True
        self._unread: Unread | None = None
        self._ended = self._half_closed = False
        self._refusal = ""
        self._flush_due = False
        self._plans = 0
        """Commands of several keys that are under way."""
        self._resuming = False
        """It goes on in the loop's next round."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BYTES)
        self._unread = Unread(self._transport, UNREAD_S_MAX, self._transport.abort)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        session = self._session = Session(self._host, self._sessions, _address(peer), _address(own))
        session.pending = self._calls.__len__
        self._sessions.add(session)
        self._sessions.connections.add(self)

    def eof_received(self) -> bool:
        """A client that has no more to say still gets its answers."""
        self._half_closed = True
        return bool(self._calls or self._commands)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        # What is under way goes on; nothing else is begun for somebody who is gone.
        self._ended = True
        self._behind.clear()
        if self._session is not None:
            self._sessions.remove(self._session)
        self._sessions.connections.discard(self)
        if self._unread is not None:
            self._unread.rest()
            self._unread = None  # It knows this connection, which need not wait for the garbage collector.
        if self._transaction is not None:
            self._transaction.end()

    def pause_writing(self) -> None:
        self._writable = False
        self._throttle()
        assert self._unread is not None
        self._unread.watch()

    def resume_writing(self) -> None:
        self._writable = True
        assert self._unread is not None
        self._unread.rest()
        self._proceed()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            self._commands.extend(self._parser.feed(data))
        except RespError as error:
            self._commands.extend(error.commands)
            self._commands.append([])
            self._refusal = f"ERR {error}"
        if self._transaction is not None:
            self._transaction.extend()
        self._proceed()

    def _resume(self) -> None:
        self._resuming = False
        self._proceed()

    def _proceed(self) -> None:
        """Take on as many commands as may be in flight, and answer what is done, until there is nothing to do, or
        others have waited long enough."""
        commands, calls = self._commands, self._calls
        session = self._session
        assert session is not None
        at_first = self._sessions.commands_processed
        while True:
            self._answer()
            before = len(commands)
            if before:
                now = session.last_command_at = self._host.now()
                while commands and len(calls) < self._calls_max and self._writable and not self._ended:
                    if not self._take(session, commands[0], now):
                        break
                    commands.popleft()
                self._sessions.commands_processed += before - len(commands)
                if self._transaction is not None and len(calls) >= self._calls_max:
                    self._transaction.release()
            if self._submitting:
                operations, self._submitting = self._submitting, []
                self._host.submit(operations)
            if len(commands) == before:
                break
            if commands and self._sessions.commands_processed - at_first >= _COMMANDS_AT_ONCE:
                if not self._resuming:
                    self._resuming = True
                    asyncio.get_running_loop().call_soon(self._resume)
                break
        if commands or not self._reading or len(calls) >= self._calls_max:
            self._throttle()

    def _take(self, session: Session, command: list[bytes], now: float) -> bool:
        """Begin a command. False if it has to wait for a key, or for all that came before."""
        keys: Sequence[bytes] = ()
        if session.replies == SKIP_NEXT:
            session.replies = SKIP
        try:
            if not command:
                self._ended = True
                raise Refusal(self._refusal)
            if self._transaction is not None:
                reply, is_over = self._transaction.answer(command)
                if is_over:
                    self._transaction.end()
                    self._transaction = None
                if reply is not None:
                    return self._append(session, Call(reply))
            found = find(command)
            if self._alone is not None or (self._busy and found.covers_all):
                return False
            if self._plans >= _PLANS_MAX:
                return False
            arguments = command[found.words :]
            if found.first_key:
                keys = found.keys(arguments)
                if len(keys) > 1 and self._busy and any(map(self._busy.__contains__, keys)):
                    # Before its operations are made, which may be many, and again at each attempt.
                    return False
                for key in keys:
                    if not 0 < len(key) <= self._host.key_bytes_max:
                        raise Refusal(f"ERR a key has 1 to {self._host.key_bytes_max} bytes, this one {len(key)}")
            command_before, session.last_command = session.last_command, found.name
            outcome = found.handler(session, arguments)
            if isinstance(outcome, bytes):
                self._ended = session.closing
                return self._append(session, Call(outcome))
            if isinstance(outcome, One):
                operation = outcome.operation
                is_change = operation.condition is None and operation.kind != GET
                self._check(operation)
            else:
                is_change = False
                for operation in outcome.operations:
                    self._check(operation)
        except TransactionRefusal as unwanted:
            multi = Call()
            self._transaction = RefusedTransaction(multi, replies.error(str(unwanted)), self._transaction_over)
            return self._append(session, multi)
        except Refusal as refused:
            reason = str(refused)
            if command and command[0].lower() in _HTTP:
                # A browser was talked into it: what comes next could be anything.
                self._ended = True
                reason = "ERR this is no web server"
            return self._append(session, Call(replies.error(reason)))
        busy = self._busy
        waits = busy and any([not self._may_begin(key, is_change) for key in keys])
        if waits and not isinstance(outcome, One):
            session.last_command = command_before
            return False
        self._append(session, outcome)
        # Each once: with it goes the mark on the key, and the next one's is not to go along.
        outcome.keys = keys if len(keys) < 2 else tuple(dict.fromkeys(keys))
        if isinstance(outcome, One):
            if waits:
                self._behind.setdefault(operation.key, deque()).append((outcome, is_change))
            else:
                self._begin(outcome, is_change, now)
        else:
            busy.update(dict.fromkeys(keys, _ONE_ELSE))
            if found.covers_all:
                self._alone = outcome
            self._plans += 1
            self._carry_out(outcome, outcome)
        return True

    def _may_begin(self, key: bytes, is_change: bool) -> bool:
        """Whether nothing has to be done on the key before."""
        count = self._busy.get(key, 0)
        return not count or (is_change and count > 0 and key not in self._behind)

    def _begin(self, call: One, is_change: bool, now: float) -> None:
        operation = call.operation
        self._busy[operation.key] = self._busy.get(operation.key, 0) + 1 if is_change else _ONE_ELSE
        operation.deadline = now + OPERATION_S_MAX
        operation.reply = (self, call)
        # In a circle, the two would live until the collector comes: a tenth of all work under load.
        del call.operation
        self._submitting.append(operation)

    def _go_on(self, key: bytes) -> None:
        """Nothing is under way on the key any more: begin what waited for it."""
        waiting = self._behind.pop(key)
        while waiting and self._may_begin(key, waiting[0][1]):
            call, is_change = waiting.popleft()
            self._begin(call, is_change, self._host.now())
        if waiting:
            self._behind[key] = waiting

    def _append(self, session: Session, call: Call) -> bool:
        call.protocol = session.protocol
        call.silent = False
        if session.replies != ON:
            call.silent = session.replies in (OFF, SKIP)
            if session.replies == SKIP:
                session.replies = ON
        self._calls.append(call)
        return True

    def _transaction_over(self) -> None:
        """Nobody has sent EXEC."""
        assert self._transaction is not None
        if self._commands:
            # What was received is still being looked at: silence has not begun.
            self._transaction.extend()
            return
        self._transaction.end()
        self._transaction = None
        self._proceed()

    def _carry_out(self, call: Plan, step: Plan) -> None:
        """Have the operations of a step done, whose results `call` waits for."""
        call.finish = step.finish
        call.left = len(step.operations)
        call.results = [_NOTHING] * call.left
        deadline = self._host.now() + OPERATION_S_MAX
        for index, operation in enumerate(step.operations):
            operation.deadline = deadline
            operation.reply = (self, (call, index))
            if isinstance(operation, ScanOperation):
                self._host.scan(operation)
            else:
                self._submitting.append(operation)
        step.operations = []  # As above.

    def _check(self, operation: Operation) -> None:
        if self._host.stopping:
            raise Refusal("TRYAGAIN the node is stopping; use another one")
        value_max = self._host.value_bytes_max
        for part in (operation.argument, operation.condition):
            if type(part) is bytes and len(part) > value_max and operation.kind != SETRANGE:
                raise Refusal(too_large(value_max, len(part)))

    def completed(self, waiting: Any, result: Result) -> bool:
        """What `waiting`, of the operation's `reply`, was for is done. True when `flush` has to be called in this turn,
        for the first time."""
        if type(waiting) is One:
            call: Call = waiting
            call.reply = (
                waiting.finish(result, waiting.protocol) if result.status < ERROR_STATUS_MIN else failure(result)
            )
        else:
            call, index = waiting
            assert type(call) is Plan
            call.results[index] = result
            call.left -= 1
            if not call.left:
                outcome = call.finish(call.results, call.protocol)
                if isinstance(outcome, Plan):
                    self._carry_out(call, outcome)
                else:
                    call.reply = outcome
                    del call.finish  # It may know the operations, which know the call.
        if call.reply is not None:
            self._plans -= type(call) is Plan
            busy = self._busy
            for key in call.keys:
                count = busy.pop(key, 0)
                if count > 1:
                    busy[key] = count - 1
                elif key in self._behind:
                    self._go_on(key)
            if self._alone is call:
                self._alone = None
        first, self._flush_due = not self._flush_due, True
        return first

    def flush(self) -> None:
        """Write the answers of this turn, and go on with what waited for them."""
        self._flush_due = False
        self._proceed()

    def _answer(self) -> None:
        """Write the answers that are complete, up to the first that is not."""
        calls = self._calls
        ready: list[bytes] = []
        while calls and (reply := calls[0].reply) is not None:
            if reply[:1] == b"-":
                self._sessions.error_replies += 1
            if not calls.popleft().silent:
                ready.append(reply)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if ready:
            data = b"".join(ready)
            self._calls_max = _CALLS_MAX if len(data) < _LARGE_BYTES else _CALLS_LARGE_MAX
            assert self._unread is not None
            self._unread.written_bytes += len(data)
            transport.write(data)
        if not calls and (self._ended or (self._half_closed and not self._commands)):
            transport.close()

    def _throttle(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        reading = self._writable and not self._commands and len(self._calls) < self._calls_max
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


_NOTHING: Final = Result(0, None, 0)
_ONE_ELSE: Final = -1


def _address(name: object) -> str:
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "?"
