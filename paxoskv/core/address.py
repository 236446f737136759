"""Where a node listens: one notion of `host:port` for files, options and clients."""

import ipaddress
from typing import NamedTuple

# What stands around hosts, and in none.
_NEVER = frozenset(" /[]")


class Address(NamedTuple):
    """A TCP address; the order of nodes' addresses is what clients go by."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`host:port` or `[ipv6]:port`. Raises ValueError with what it must be."""
        host, _, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        is_number = port.isascii() and port.isdecimal() and len(port) <= 5
        if not _is_host(bare) or not is_number or not 0 < int(port) < 65536:
            raise ValueError("it must be host:port, such as 127.0.0.1:7401")
        return cls(bare, int(port))


def _is_host(host: str) -> bool:
    """Whether it can be a name or an address; whether there is such a host is another question."""
    try:
        if ":" in host:
            ipaddress.ip_address(host.partition("%")[0])
        host.encode("idna")
    except ValueError:
        return False
    return bool(host) and host.isprintable() and not _NEVER & set(host)
