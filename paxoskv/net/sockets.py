"""Options of TCP that asyncio does not set."""

import asyncio
import socket
from typing import Final

# After so long without a word TCP asks whether the other end is there, so often, so far apart.
_IDLE_S: Final = 60
_PROBES: Final = 6
_PROBE_S: Final = 10
_UNACKNOWLEDGED_S: Final = 5


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have TCP notice that the other end is gone without a word, as a machine is that lost its power: else what it
    holds here, a file descriptor above all, it would hold for ever."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", _IDLE_S), ("TCP_KEEPCNT", _PROBES), ("TCP_KEEPINTVL", _PROBE_S)):
        # Not every system lets them be set.
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def give_up_soon(transport: asyncio.BaseTransport) -> None:
    """Have TCP break a connection whose other end acknowledges nothing for some seconds. By itself it sends again after
    ever longer pauses, so that a network that was gone for a minute would stay gone for nearly another one."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has it.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_S * 1000)
