"""The same commands to a real Redis and to us, answer by answer."""

import random
import socket
from collections.abc import Iterator

import pytest


class Line:
    """A bare connection: commands as they go over the wire, answers as they come, byte by byte."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._socket.makefile("rb")

    def __call__(self, *arguments: bytes) -> object:
        parts = [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
        self._socket.sendall(b"*%d\r\n%b" % (len(arguments), b"".join(parts)))
        return self.reply()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def reply(self) -> object:
        """The next answer."""
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=" and rest != b"-1":
            body = self._file.read(int(rest) + 2)[:-2]
            return kind, body
        if kind in b"*~%" and rest != b"-1":
            return kind, [self.reply() for _ in range(int(rest) * (1 + (kind == b"%")))]
        return line

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def both(ports: list[int], real_port: int) -> Iterator[tuple[Line, Line]]:
    ours, theirs = Line(ports[0]), Line(real_port)
    ours(b"FLUSHALL")
    theirs(b"FLUSHALL")
    yield ours, theirs
    ours.close()
    theirs.close()


def compare(both: tuple[Line, Line], *commands: str) -> None:
    for text in commands:
        arguments = [part.encode("latin-1").replace(b"_", b" ") if part != "''" else b"" for part in text.split()]
        ours, theirs = both[0](*arguments), both[1](*arguments)
        if arguments[0] == b"keys" and isinstance(theirs, tuple):
            # In no particular order.
            assert isinstance(ours, tuple), ours
            ours, theirs = (ours[0], sorted(ours[1])), (theirs[0], sorted(theirs[1]))
        assert ours == theirs, f"{text}: {ours!r}, Redis says {theirs!r}"


EDGES = {
    "set": (
        "set a 1", "get a", "SET a 2 nx", "set a 2 xx", "set b 1 xx", "get b", "set b 1 nx get", "set b 2 get",
        "set b 3 nx get", "set b 3 xx get", "set a 1 nx xx", "set a 1 ex", "set a 1 ex x", "set a 1 ex 0",
        "set a 1 ex -1", "set a 1 px 0", "set a 1 ex 9223372036854775807", "set a 1 ex 10 px 10",
        "set a 1 keepttl ex 10", "set a 1 foo", "set a", "set", "set a 1 ex 100", "ttl a", "set a 2 keepttl", "ttl a",
        "set a 3", "ttl a", "set a 1 exat 1", "get a", "set a 1 pxat 99999999999999", "pexpiretime a", "setnx a 2",
        "setnx z 2", "setex a 10 v", "ttl a", "setex a 0 v", "setex a x v", "psetex a 10000 v", "psetex a -1 v",
        "getset a w", "ttl a", "getset q w", "getdel q", "getdel q", "getex a", "getex a ex 100", "ttl a",
        "getex a persist", "ttl a", "getex a ex 0", "getex nope ex 0", "getex a foo", "getex a ex 1 px 1", "getex nope",
    ),
    "several": (
        "mset a 1 b 2 a 3", "mget a b nope a", "mset a", "mset a 1 b", "mget", "exists a a nope b", "del a a nope",
        "unlink b", "touch a b", "exists", "type a", "set s x", "type s", "object encoding s", "object encoding nope",
        "object encoding", "set n 12", "object encoding n", "set l aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "object encoding l",
    ),
    "numbers": (
        "incr a", "incrby a 10", "decr a", "decrby a 5", "get a", "set a x", "incr a", "set a 9223372036854775807",
        "incr a", "decrby a -1", "set a -9223372036854775808", "decr a", "decrby b -9223372036854775808", "incrby a x",
        "incrby a 1.0", "incrby a _1", "set a 01", "incr a", "set a ''", "incr a", "set f 10.5", "incrbyfloat f 0.1",
        "incrbyfloat f -5", "incrbyfloat f 1e3", "incrbyfloat f x", "incrbyfloat s x", "set f abc", "incrbyfloat f 1",
        "set f 3.0e3", "incrbyfloat f 200", "incrbyfloat nope 0.3", "incrbyfloat nope 1e-5", "incrbyfloat nope inf",
        "incrbyfloat nope nan", "incr", "incr a b",
    ),
    "parts": (
        "append a hello", "append a _world", "strlen a", "strlen nope", "getrange a 0 4", "getrange a -5 -1",
        "getrange a 3 1", "getrange a -1 -5", "getrange a 0 1000", "getrange a -1000 2", "getrange a x 1",
        "substr a 0 2", "getrange nope 0 -1", "setrange a 6 redis", "get a", "setrange a -1 x", "setrange a x y",
        "setrange pad 5 x", "get pad", "setrange nope 3 ''", "exists nope", "setrange a 2 ''",
        "setrange a 536870912 x", "append e ''", "exists e",
    ),
    "expiry": (
        "set a 1", "ttl a", "pttl a", "ttl nope", "expire a 100", "ttl a", "expire a 200 nx", "expire a 200 xx",
        "expire a 100 gt", "expire a 300 gt", "expire a 100 lt", "ttl a", "persist a", "persist a", "persist nope",
        "expire a 10 gt", "expire a 10 xx", "expire a 10 lt", "expire nope 10", "expire a x", "expire a 10 foo",
        "expire a 10 nx xx", "expire a 10 gt lt", "expire a 9223372036854775807", "expire a -9223372036854775807",
        "pexpire a 9223372036854775807", "expireat a 99999999999", "expiretime a", "pexpiretime a",
        "pexpireat a 99999999999999", "pexpiretime a", "expiretime nope", "expireat a 1", "get a", "set a 1",
        "expire a -1", "exists a", "set a 1", "expire a 0", "exists a", "set a 1", "expire a -5 gt", "exists a",
        "expire a", "expire a 1 2 3",
    ),
    "keys": (
        "mset key:1 a key:2 b kex c [x] d", "keys key:[12]", "keys k?x", "keys nope*", "keys \\[x]", "keys [^k]x]",
        "dbsize", "scan 0 match nope", "scan x", "scan 0 count 0", "scan 0 count x", "scan 0 foo",
        "scan", "flushdb", "dbsize", "keys *", "randomkey", "flushall async", "flushall sync", "flushall foo",
    ),
    "connection": (
        "ping", "ping hello", "ping a b", "echo hi", "echo", "select 0", "select 1000", "select x", "auth x",
        "auth default x", "auth nobody x", "auth a b c", "hello 4", "hello x", "hello 2 foo", "hello 2 setname",
        "client getname", "client setname me", "client getname", "client setname a_b", "client nope", "client",
        "client id x", "client reply foo", "client no-evict on", "client no-evict maybe", "nope", "nope a b",
        "nope aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b", "reset", "get", "get a b", "command count x", "command info nope",
        "command foo", "config get", "config foo", "config get nope", "config set a", "hello 3 foo",
    ),
}  # fmt: skip


@pytest.mark.parametrize("group", EDGES)
@pytest.mark.parametrize("protocol", ["2", "3"])
def test_answers_are_those_of_redis(both: tuple[Line, Line], group: str, protocol: str) -> None:
    for line in both:
        line(b"HELLO", protocol.encode())
    compare(both, *EDGES[group])


def random_command(rng: random.Random) -> str:
    """Nothing whose answer depends on the moment, or, as an encoding does, on how a value came to be."""
    key = rng.choice(("a", "b", "c"))
    value = rng.choice(("1", "-7", "10.25", "text", "''", "99999999999999999999", "9223372036854775807"))
    number = rng.choice(("0", "1", "-1", "3", "100", "x", "9223372036854775807"))
    option = rng.choice(("ex 1000", "px 100000", "exat 99999999999", "keepttl", "nx", "xx", "get", "nx get", "xx get"))
    seconds = rng.choice(("-1", "0", str(rng.randrange(1000, 10**9))))
    condition = rng.choice(("", "nx", "xx", "gt", "lt"))
    return rng.choice(
        (
            f"set {key} {value}",
            f"set {key} {value} {option}",
            f"get {key}",
            f"append {key} {value}",
            f"incrby {key} {number}",
            f"decrby {key} {number}",
            f"incrbyfloat {key} {value}",
            f"getdel {key}",
            f"setrange {key} {rng.choice('0125')} {value}",
            f"getrange {key} {number} {number}",
            f"strlen {key}",
            f"del {key} b",
            f"exists {key} {key} c",
            f"expire {key} {seconds} {condition}",
            f"persist {key}",
            f"type {key}",
            f"getset {key} {value}",
            f"getex {key} persist",
            f"setnx {key} {value}",
            f"mset a {value} {key} {number}",
            "mget a b c",
        )
    )


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_commands_is_answered_as_redis_answers_it(both: tuple[Line, Line], seed: int) -> None:
    rng = random.Random(seed)
    compare(both, *(random_command(rng) for _ in range(150)))


BROKEN = {
    "a status in a command": b"*1\r\n+PING\r\n",
    "too many elements": b"*3000000000\r\n",
    "no number of elements": b"*x\r\n",
    "a negative length": b"*1\r\n$-5\r\n",
    "a huge length": b"*1\r\n$4294967296\r\n",
    "no length": b"*2\r\n$3\r\nGET\r\n$x\r\n",
    "a number in place of a string": b"*2\r\n$3\r\nGET\r\n:1\r\n",
    "unbalanced quotes": b'get "a\r\n',
    "something behind quotes": b'get "a"b\r\n',
    "an endless line": b"a" * 70_000,
    "commands before it": b"PING\r\nPING\r\n*1\r\n+PING\r\n",
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_bytes_are_refused_in_the_words_of_redis(ports: list[int], real_port: int, what: str) -> None:
    answers = []
    for port in (ports[0], real_port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(BROKEN[what])
            answer = b""
            while part := line.recv(4096):
                answer += part
        answers.append(answer)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("line", ["PING", "set k 'a \\' b'", 'set k "\\x41\\n\\t"', "  get   k  ", "", "get k\tk"])
def test_lines_typed_by_hand_are_understood(both: tuple[Line, Line], line: str) -> None:
    for text in (line, "get k"):
        answers = []
        for each in both:
            each.send(text.encode() + b"\r\nPING\r\n")
            found = [each.reply()]
            while found[-1] != b"+PONG\r\n":
                found.append(each.reply())
            answers.append(found)
        assert answers[0] == answers[1]
