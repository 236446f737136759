"""Where nodes are, and which of them a key goes to."""

from collections.abc import Iterable

from paxoskv.core.address import Address
from paxoskv.core.errors import BadRequest


def parse_endpoints(endpoints: str | Iterable[str]) -> list[Address]:
    """The addresses. Raises BadRequest with what is wrong."""
    given: object = endpoints
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise BadRequest(f"endpoints are a str of host:port,host:port or an iterable of such, not {given!r}")
    texts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    found = []
    for text in texts:
        if not isinstance(text, str):
            raise BadRequest(f"an endpoint is a str such as '127.0.0.1:7401', not {text!r}")
        try:
            address = Address.parse(text.strip())
        except ValueError as error:
            raise BadRequest(f"{text!r} is no endpoint; {error}") from None
        if address not in found:
            found.append(address)
    if not found:
        raise BadRequest("there must be at least one endpoint, such as 127.0.0.1:7401")
    return found
