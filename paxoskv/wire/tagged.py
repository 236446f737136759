"""An engine's messages as bytes: msgpack arrays whose first element says the kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from paxoskv.core.errors import ProtocolError
from paxoskv.wire import framing
from paxoskv.wire.peer import Codec

MessageT = TypeVar("MessageT")


def make_codec(
    encoders: Mapping[type, Callable[[Any], tuple[Any, ...]]],
    decoders: Sequence[Callable[..., MessageT]],
    shared: type,
    check: Callable[[MessageT], object] = lambda _message: None,
) -> Codec[MessageT]:
    """A codec by two tables, both in the order of the tags. `encoders` make a message's array, tag and all; `decoders`
    make a message of what follows the tag. They raise TypeError, ValueError or IndexError at what is none, as `check`
    does at any message.

    A message of the kind `shared` goes to all peers and to the journal: it is encoded once, and keeps the bytes that it
    was decoded from, in its attribute `encoded`.
    """

    tag_of_shared = list(encoders).index(shared)

    def encode(message: Any) -> bytes:
        kind = type(message)
        if kind is not shared:
            return framing.encode(encoders[kind](message))
        if not message.encoded:
            message.encoded = framing.encode(encoders[kind](message))
        kept: bytes = message.encoded
        return kept

    def decode(encoded: bytes) -> MessageT:
        body = framing.unpack(encoded)
        tag = body[0]
        if type(tag) is not int or not 0 <= tag < len(decoders):
            raise ProtocolError("unknown kind of peer message")
        try:
            message = decoders[tag](*body[1:])
            check(message)
        except (TypeError, ValueError, IndexError, RecursionError) as error:
            raise ProtocolError(f"malformed peer message of kind {tag}") from error
        if tag == tag_of_shared:
            cast(Any, message).encoded = encoded
        return message

    return Codec(encode, decode)
