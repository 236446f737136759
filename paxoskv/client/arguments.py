"""What callers give, checked and as nodes take it. Everything here raises BadRequest, with a sentence."""

from typing import Final

from paxoskv.core import operations
from paxoskv.core.errors import BadRequest
from paxoskv.wire import client as wire

Data = bytes | bytearray | memoryview | str

TTL_S_MAX: Final = 1000 * 365 * 86_400
_TIMEOUT_S_MAX: Final = wire.TIMEOUT_MS_MAX / 1000


def seconds_of(timeout: float) -> float:
    """A call's timeout."""
    # Negated, so that NaN is refused too.
    if type(timeout) is bool or not isinstance(timeout, int | float) or not timeout > 0:
        raise BadRequest(f"a timeout is a number of seconds above 0, not {timeout!r}")
    return min(timeout, _TIMEOUT_S_MAX)


def bytes_of(data: Data, what: str) -> bytes:
    """A key or a value, which `what` names."""
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError:
            raise BadRequest(f"the {what} is a str that UTF-8 cannot encode; give bytes") from None
    if isinstance(data, bytes | bytearray | memoryview):
        try:
            # Through a view, since a subclass of bytes may have a `__bytes__` of its own.
            return bytes(memoryview(data))
        except ValueError:
            raise BadRequest(f"the {what} is a memoryview that was released") from None
    raise BadRequest(f"a {what} is bytes or str, not {type(data).__name__}")


def lifetime_ms_of(ttl: float | None) -> int | None:
    """A time to live, in milliseconds."""
    # Negated, so that NaN is refused too.
    if ttl is not None and (type(ttl) is bool or not isinstance(ttl, int | float) or not 0 < ttl <= TTL_S_MAX):
        raise BadRequest(
            f"a time to live is a number of seconds above 0 and up to {TTL_S_MAX:,}, a thousand years, not {ttl!r}"
        )
    return None if ttl is None else max(1, round(ttl * 1000))


def version_of(if_version: int | None) -> int | None:
    """A condition on the version."""
    if if_version is None or (type(if_version) is int and 0 <= if_version <= operations.CONDITION_MAX):
        return if_version
    raise BadRequest(f"if_version is a version that an answer named, or 0 for an absent key, not {if_version!r}")
