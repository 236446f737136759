"""The same commands to a real Redis and to us, answer by answer."""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paxoskv.redis.splitting import split


def encoded(arguments: Sequence[bytes]) -> bytes:
    """A command as it goes over the wire."""
    parts = [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    return b"*%d\r\n%b" % (len(arguments), b"".join(parts))


class Line:
    """A bare connection: commands as they go over the wire, answers as they come, byte by byte."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._socket.makefile("rb")

    def __call__(self, *arguments: bytes) -> object:
        self.send(encoded(arguments))
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


EDGES_FILE = Path(__file__).with_name("edges.txt")
TIMES = frozenset((b"ttl", b"pttl", b"expiretime", b"pexpiretime"))
TOLERANCE = {b"t": 100, b"e": 100, b"p": 100_000}
"""By the first letter of what tells a time, seconds or milliseconds."""
END = b"that is all"


def groups() -> dict[str, list[list[bytes]]]:
    """The commands of edges.txt."""
    found: dict[str, list[list[bytes]]] = {}
    for line in EDGES_FILE.read_text().splitlines():
        if line.startswith("["):
            commands = found[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            commands.append(split(line.encode()))
    return found


EDGES = groups()


def alike(name: bytes, ours: object, theirs: object) -> bool:
    """Whether the answers to a command are the same, as far as they can be."""
    name = name.lower()
    if name == b"keys" and isinstance(ours, tuple) and isinstance(theirs, tuple):
        # In no particular order.
        return bool(ours[0] == theirs[0] and sorted(ours[1]) == sorted(theirs[1]))
    if name in TIMES and isinstance(ours, bytes) and isinstance(theirs, bytes) and ours[:1] == theirs[:1] == b":":
        left = int(ours[1:]), int(theirs[1:])
        return left[0] == left[1] or (min(left) > 0 and abs(left[0] - left[1]) <= TOLERANCE[name[:1]])
    return ours == theirs


def compare(both: tuple[Line, Line], commands: list[list[bytes]]) -> None:
    for arguments in commands:
        ours, theirs = both[0](*arguments), both[1](*arguments)
        assert alike(arguments[0], ours, theirs), f"{arguments}: {ours!r}, Redis says {theirs!r}"


def pipelined(line: Line, commands: list[list[bytes]]) -> list[object]:
    """All answers to commands that are sent at once."""
    line.send(b"".join(map(encoded, [*commands, [b"echo", END]])))
    answers = []
    while (answer := line.reply()) != (b"$", END):
        answers.append(answer)
    return answers


def is_silent(group: str) -> bool:
    return any(command[:2] == [b"client", b"reply"] for command in EDGES[group])


@pytest.mark.parametrize("group", [group for group in EDGES if not is_silent(group)])
@pytest.mark.parametrize("protocol", [b"2", b"3"])
def test_answers_are_those_of_redis(both: tuple[Line, Line], group: str, protocol: bytes) -> None:
    for line in both:
        line(b"HELLO", protocol)
    compare(both, EDGES[group])


@pytest.mark.parametrize("group", EDGES)
def test_answers_are_those_of_redis_when_all_commands_are_sent_at_once(both: tuple[Line, Line], group: str) -> None:
    ours, theirs = [pipelined(line, EDGES[group]) for line in both]
    assert len(ours) == len(theirs)
    if is_silent(group):
        assert ours == theirs
    else:
        for arguments, answer, expected in zip(EDGES[group], ours, theirs, strict=True):
            assert alike(arguments[0], answer, expected), f"{arguments}: {answer!r}, Redis says {expected!r}"


KEYS = st.sampled_from([b"a", b"b", b"c", b"\0\r\n"])
VALUES = st.one_of(
    st.sampled_from([b"", b"0", b"1", b"-7", b"10.25", b"text", b"1e3", b"9223372036854775807", b"-0", b"\r\n$1\r\n"]),
    st.integers(-(2**64), 2**64).map(lambda number: b"%d" % number),
    st.floats().map(lambda number: repr(number).encode()),
    st.binary(max_size=12),
)
NUMBERS = st.one_of(
    st.integers(-7, 7), st.integers(-(2**63) - 1, 2**63), st.sampled_from([2**63 - 1, -(2**63), 10**15])
).map(lambda number: b"%d" % number)
INTEGERS = st.one_of(NUMBERS, NUMBERS, NUMBERS, st.sampled_from([b"x", b"", b"1.5", b"+1", b" 1", b"nan", b"inf"]))
# Far from now, so that nothing expires on the way, on one side and not yet on the other.
SECONDS = st.one_of(
    st.integers(10_000, 10**9).map(lambda number: b"%d" % number),
    st.sampled_from([b"0", b"-1", b"x", b"9223372036854775807", b"9223372036854775", b"-9223372036854775"]),
)
LATER = st.integers(4_000_000_000, 5_000_000_000).map(lambda number: b"%d" % number)


def row(*parts: bytes | st.SearchStrategy[bytes] | st.SearchStrategy[list[bytes]]) -> st.SearchStrategy[list[bytes]]:
    """A command: words, arguments and lists of these."""
    drawn = [st.just([part]) if isinstance(part, bytes) else part for part in parts]
    flat: list[st.SearchStrategy[list[bytes]]] = [
        each.map(lambda found: found if isinstance(found, list) else [found]) for each in drawn
    ]
    return st.tuples(*flat).map(lambda pieces: [word for piece in pieces for word in piece])


def words(*choices: str) -> st.SearchStrategy[list[bytes]]:
    return st.sampled_from(choices).map(lambda choice: choice.encode().split())


LIFETIME = st.one_of(
    row(st.sampled_from([b"EX", b"PX", b"ex"]), SECONDS),
    row(b"EXAT", LATER),
    row(b"PXAT", LATER.map(lambda seconds: seconds + b"000")),
)
SET_OPTIONS = st.lists(
    st.one_of(words("NX", "XX", "GET", "KEEPTTL", "get", "nx"), LIFETIME, words("foo")), max_size=3
).map(lambda options: [word for option in options for word in option])
CONDITIONS = st.lists(st.sampled_from([b"NX", b"XX", b"GT", b"LT", b"lt", b"foo"]), max_size=2)
# Of two times from now on, which is later depends on the millisecond.
PLAIN_CONDITIONS = st.lists(st.sampled_from([b"NX", b"XX", b"xx", b"foo"]), max_size=2)
COMMANDS = st.one_of(
    row(b"SET", KEYS, VALUES, SET_OPTIONS),
    row(b"SET", KEYS, VALUES, LIFETIME),
    row(b"GET", KEYS),
    row(b"GETEX", KEYS, st.one_of(LIFETIME, words("PERSIST", "persist PERSIST", "", "KEEPTTL", "EX"))),
    row(words("GETDEL", "PERSIST", "STRLEN", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "TYPE", "INCR", "DECR"), KEYS),
    row(words("GETSET", "SETNX", "APPEND"), KEYS, VALUES),
    row(words("SETEX", "PSETEX"), KEYS, SECONDS, VALUES),
    row(words("INCRBY", "DECRBY"), KEYS, INTEGERS),
    row(b"INCRBYFLOAT", KEYS, VALUES),
    row(words("GETRANGE", "SUBSTR"), KEYS, INTEGERS, INTEGERS),
    row(b"SETRANGE", KEYS, st.sampled_from([b"0", b"1", b"5", b"-1", b"x", b"1000"]), VALUES),
    row(words("EXPIRE", "PEXPIRE"), KEYS, SECONDS, PLAIN_CONDITIONS),
    row(b"EXPIREAT", KEYS, LATER, CONDITIONS),
    row(b"PEXPIREAT", KEYS, LATER.map(lambda seconds: seconds + b"000"), CONDITIONS),
    row(words("MGET", "DEL", "UNLINK", "EXISTS", "TOUCH"), st.lists(KEYS, max_size=4)),
    row(b"MSET", st.lists(st.one_of(KEYS, VALUES), max_size=4)),
    row(words("KEYS *", "DBSIZE", "SCAN 0 MATCH nope", "PING", "nope", "CLIENT GETNAME", "FLUSHALL")),
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(commands=st.lists(COMMANDS, max_size=40), protocol=st.sampled_from([b"2", b"3"]), at_once=st.booleans())
def test_any_commands_are_answered_as_redis_answers_them(
    both: tuple[Line, Line], commands: list[list[bytes]], protocol: bytes, at_once: bool
) -> None:
    for line in both:
        line(b"FLUSHALL")
        line(b"HELLO", protocol)
    # An empty key is the one thing that is not allowed here.
    commands = [command for command in commands if b"" not in command[1:] or command[0] in (b"SET", b"APPEND")]
    if not at_once:
        compare(both, commands)
        return
    ours, theirs = [pipelined(line, commands) for line in both]
    for arguments, answer, expected in zip(commands, ours, theirs, strict=True):
        assert alike(arguments[0], answer, expected), f"{arguments}: {answer!r}, Redis says {expected!r}"


NAMED = st.lists(st.sampled_from(b"ab-^]*"), min_size=1, max_size=4).map(bytes)
GLOBS = st.lists(st.sampled_from((b"a", b"b", b"-", b"^", b"]", b"[", b"*", b"?", b"\\", b"[^", b"[a-b]")), max_size=8)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(keys=st.lists(NAMED, min_size=1, max_size=8), pattern=GLOBS.map(b"".join))
def test_any_pattern_finds_the_keys_that_it_finds_in_redis(
    both: tuple[Line, Line], keys: list[bytes], pattern: bytes
) -> None:
    compare(both, [[b"FLUSHALL"], *[[b"SET", key, b""] for key in keys], [b"KEYS", pattern]])


def plain(answer: object) -> object:
    """An answer as lists and texts."""
    if isinstance(answer, tuple):
        answer = answer[1]
    if isinstance(answer, list):
        return [plain(part) for part in answer]
    assert isinstance(answer, bytes)
    return answer[1:-2].decode() if answer.endswith(b"\r\n") else answer.decode()


def pairs(answer: list[Any]) -> dict[str, Any]:
    return dict(zip(answer[::2], answer[1::2], strict=True))


def details(answer: list[Any]) -> dict[str, Any]:
    """Name, arity, flags, keys, categories, tips and what is done to keys by name, those of subcommands included."""
    found = {}
    for name, arity, flags, first, last, step, categories, tips, keys, subcommands in answer:
        found[name] = arity, sorted(flags), first, last, step, sorted(categories), tips, *map(specification, keys)
        found |= details(subcommands)
    return found


def specification(answer: list[Any]) -> dict[str, Any]:
    found = pairs(answer)
    return found | {"flags": sorted(found["flags"])}


def arguments_of(documentation: dict[str, Any]) -> list[Any]:
    """Kinds, tokens and flags; names but of groups, which are ours."""
    found = []
    for argument in map(pairs, documentation.get("arguments", [])):
        is_group = argument["type"] in ("oneof", "block")
        found.append(
            (
                argument["type"],
                "" if is_group else argument["name"],
                argument.get("token"),
                sorted(argument.get("flags", [])),
                arguments_of(argument),
            )
        )
    return found


OURS = {"cas", "getv", "setv", "delv", "client|setinfo", "client|no-touch"}


def test_commands_are_described_as_redis_describes_them(both: tuple[Line, Line]) -> None:
    names = [name.encode() for name in cast("list[str]", plain(both[0](b"COMMAND", b"LIST")))]
    assert plain(both[0](b"COMMAND", b"COUNT")) == str(len([name for name in names if b"|" not in name]))
    ours, theirs = [
        details(cast("list[Any]", plain(line(b"COMMAND", b"INFO", *set(names) - NOT_THEIRS)))) for line in both
    ]
    assert {name: ours[name] for name in ours.keys() - OURS} == {name: theirs[name] for name in ours.keys() - OURS}
    documents = [pairs(cast("list[Any]", plain(line(b"COMMAND", b"DOCS", *names)))) for line in both]
    assert documents[0].keys() - documents[1].keys() == OURS
    for name in documents[1]:
        mine, real = [pairs(each[name]) for each in documents]
        assert (mine["since"], mine["group"]) == (real["since"], real["group"]), name
        assert mine["summary"]
        # Redis tells nothing of some subcommands' arguments, and has blocks of one in others.
        assert "|" in name or arguments_of(mine) == arguments_of(real), name


NOT_THEIRS = {name.encode() for name in OURS}


BROKEN = {
    "a status in a command": b"*1\r\n+PING\r\n",
    "a line break in a command": b"*1\r\n\r\n",
    "a byte beyond ASCII in a command": b"*1\r\n\xff\r\n",
    "a long length": b"*1\r\n$" + b"1" * 70_000 + b"\r\n",
    "an endless length": b"*1\r\n$" + b"1" * 70_000,
    "an endless number of elements": b"*" + b"1" * 70_000,
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


@pytest.mark.parametrize("white", [b"\v", b"\f", b"\t ", b"\r\n"])
def test_a_connection_may_begin_with_white_space(ports: list[int], white: bytes) -> None:
    """Some of it was taken for the length of a frame of ours."""
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=10) as line:
        line.sendall(white + b"PING\r\n")
        assert line.recv(64) == b"+PONG\r\n"


@pytest.mark.parametrize(
    "line",
    [
        "PING",
        "PING\v",
        "\vPING",
        "\fecho a\vb\fc",
        "ECHO 'a'\v",
        "set k 'a \\' b'",
        'set k "\\x41\\n\\t"',
        "  get   k  ",
        "",
        "get k\tk",
    ],
)
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
