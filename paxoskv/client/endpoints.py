"""Where nodes are, and which of them a key goes to."""

import re
from collections.abc import Iterable
from typing import Final

from paxoskv.core.errors import BadRequest

_ENDPOINT: Final = re.compile(r"(?:[^\s\[\]\0]+|\[[0-9A-Fa-f:.%\w]+\]):([0-9]{1,5})")


def parse_endpoints(endpoints: str | Iterable[str]) -> list[str]:
    """The addresses. Raises BadRequest with what is wrong."""
    given: object = endpoints
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise BadRequest(f"endpoints are a str of host:port,host:port or an iterable of such, not {given!r}")
    texts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    found = []
    for text in texts:
        if not isinstance(text, str):
            raise BadRequest(f"an endpoint is a str such as '127.0.0.1:7401', not {text!r}")
        address = text.strip()
        if (match := _ENDPOINT.fullmatch(address)) is None or not 0 < int(match[1]) < 65536:
            raise BadRequest(f"{text!r} is no endpoint; it must be host:port, such as 127.0.0.1:7401")
        if address not in found:
            found.append(address)
    if not found:
        raise BadRequest("there must be at least one endpoint, such as 127.0.0.1:7401")
    return found


def split_endpoint(address: str) -> tuple[str, int]:
    """Host and port of an address that `parse_endpoints` has checked; clients order nodes by them."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
