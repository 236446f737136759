"""Links that delay, over real sockets."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from comparison.links import Links

DELAY_S = 0.15


@pytest.fixture
def echo() -> Iterator[int]:
    """A port that answers what it hears."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            while True:
                connection, _ = server.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()
        except OSError:
            return

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65_536):
                connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture
def links() -> Iterator[Links]:
    found = Links({frozenset((1, 2)): DELAY_S})
    yield found
    found.stop()


def ask(port: int, data: bytes) -> tuple[bytes, float]:
    """The echo, and the seconds until all of it was there."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        began = time.monotonic()
        connection.sendall(data)
        heard = b""
        while len(heard) < len(data):
            heard += connection.recv(65_536)
        return heard, time.monotonic() - began


def test_what_passes_between_two_nodes_comes_whole_and_late(links: Links, echo: int) -> None:
    links.belongs(os.getpid(), 1)
    data = os.urandom(3_000_000)
    heard, seconds = ask(links.before(2, echo), data)
    assert heard == data
    assert seconds >= 2 * DELAY_S, "once in each direction"


def test_who_connects_is_known_by_its_process(links: Links, echo: int) -> None:
    """This process is node 3, and it is the way from 1 to 2 that is slow."""
    links.belongs(os.getpid(), 3)
    port = links.before(2, echo)
    assert ask(port, b"x")[0] == b"x"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert links.pair(2, connection.getsockname()[1], None) == {2, 3}
    assert links.pair(2, 1, None) == {2}, "nobody that is known"


def test_a_client_may_stand_where_a_node_is(links: Links, echo: int) -> None:
    assert ask(links.between(1, 2, echo), b"x")[1] >= 2 * DELAY_S


def test_delays_change_for_connections_that_are_there(links: Links, echo: int) -> None:
    links.belongs(os.getpid(), 3)
    with socket.create_connection(("127.0.0.1", links.before(2, echo))) as connection:
        connection.sendall(b"a")
        assert connection.recv(1) == b"a"
        links.set_delays({frozenset((2, 3)): DELAY_S})
        began = time.monotonic()
        connection.sendall(b"b")
        assert connection.recv(1) == b"b"
        assert time.monotonic() - began >= 2 * DELAY_S


def test_a_peer_that_is_not_there_is_a_connection_that_ends(links: Links) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    with (
        socket.create_connection(("127.0.0.1", links.before(1, port)), timeout=20) as connection,
        contextlib.suppress(ConnectionResetError),
    ):
        assert connection.recv(1) == b""
