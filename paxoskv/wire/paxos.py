"""The leaderless engine's messages as bytes."""

from collections.abc import Callable
from typing import Any, Final

from paxoskv.core import errors, operations
from paxoskv.paxos import messages
from paxoskv.paxos.ballot import BALLOT_MAX, VERSION_MAX
from paxoskv.paxos.messages import Message
from paxoskv.paxos.register import is_shaped
from paxoskv.wire.tagged import make_codec

_NUMBER_MAX: Final = 2**64 - 1
_INT: Final = frozenset((int,))
_BYTES: Final = frozenset((bytes,))
_STATUSES: Final = frozenset((operations.OK, operations.ABSENT, *errors.BY_STATUS))


_ENCODERS: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    messages.Proposals: lambda m: (
        0,
        m.number,
        m.prepare_keys,
        m.prepare_ballots,
        m.prepare_known,
        m.accept_keys,
        m.accept_versions,
        m.accept_registers,
    ),
    messages.Accepted: lambda m: (1, m.number, m.exceptions),
    messages.Promised: lambda m: (2, m.number, m.start, m.accepted, m.registers, m.exceptions, m.floor),
    messages.Refused: lambda m: (3, m.number, m.exceptions),
    messages.Reads: lambda m: (4, m.number, m.keys),
    messages.Versions: lambda m: (5, m.number, m.versions, m.floor),
    messages.Fetches: lambda m: (6, m.items),
    messages.Registers: lambda m: (7, m.items),
    messages.Relays: lambda m: (8, m.items),
    messages.RelayAnswers: lambda m: (9, m.items),
    messages.Pages: lambda m: (10, m.number, m.start, m.end, m.limit),
    messages.Page: lambda m: (11, m.number, m.start, m.keys, m.versions, m.following),
}


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _NUMBER_MAX:
        raise ValueError(value)
    return value


def _integers(column: Any, least: int, most: int) -> tuple[int, ...]:
    if type(column) is not tuple or not _INT.issuperset(map(type, column)):
        raise ValueError(column)
    if column and (min(column) < least or max(column) > most):
        raise ValueError(column)
    return column


def _keys(column: Any) -> tuple[bytes, ...]:
    if type(column) is not tuple or not _BYTES.issuperset(map(type, column)) or b"" in column:
        raise ValueError(column)
    return column


def _registers(column: Any) -> tuple[bytes, ...]:
    if type(column) is not tuple or not all(map(is_shaped, column)):
        raise ValueError(column)
    return column


def _equal_lengths(first: tuple[Any, ...], *others: tuple[Any, ...]) -> None:
    for other in others:
        if len(other) != len(first):
            raise ValueError("columns of unequal length")


def _exceptions(column: Any) -> tuple[messages.Refusal, ...]:
    if type(column) is not tuple:
        raise ValueError(column)
    found = []
    for key, promised, by_floor in column:
        if type(key) is not bytes or type(by_floor) is not bool:
            raise ValueError(column)
        [promised] = _integers((promised,), 0, BALLOT_MAX)
        found.append(messages.Refusal(key, promised, by_floor))
    return tuple(found)


def _decode_proposals(
    number: Any, prepare_keys: Any, ballots: Any, known: Any, accept_keys: Any, versions: Any, registers: Any
) -> messages.Proposals:
    message = messages.Proposals(
        _number(number),
        _keys(prepare_keys),
        _integers(ballots, 1, BALLOT_MAX),
        _integers(known, 0, VERSION_MAX),
        _keys(accept_keys),
        _integers(versions, 1, VERSION_MAX),
        _registers(registers),
    )
    _equal_lengths(prepare_keys, ballots, known)
    _equal_lengths(accept_keys, versions, registers)
    return message


def _decode_accepted(number: Any, exceptions: Any) -> messages.Accepted:
    return messages.Accepted(_number(number), _exceptions(exceptions))


def _decode_promised(
    number: Any, start: Any, accepted: Any, registers: Any, exceptions: Any, floor: Any
) -> messages.Promised:
    _integers((floor,), 0, VERSION_MAX)
    _integers(accepted, 0, VERSION_MAX)
    if type(registers) is not tuple or not all(
        [register is None or register == b"" or is_shaped(register) for register in registers]
    ):
        raise ValueError(registers)
    _equal_lengths(accepted, registers)
    return messages.Promised(_number(number), _number(start), accepted, registers, _exceptions(exceptions), floor)


def _decode_refused(number: Any, exceptions: Any) -> messages.Refused:
    return messages.Refused(_number(number), _exceptions(exceptions))


def _decode_reads(number: Any, keys: Any) -> messages.Reads:
    return messages.Reads(_number(number), _keys(keys))


def _decode_versions(number: Any, versions: Any, floor: Any) -> messages.Versions:
    _integers((floor,), 0, VERSION_MAX)
    return messages.Versions(_number(number), _integers(versions, 0, VERSION_MAX), floor)


def _decode_fetches(items: Any) -> messages.Fetches:
    fetches = tuple([messages.Fetch(_number(number), key) for number, key in items])
    _keys(tuple([fetch.key for fetch in fetches]))
    return messages.Fetches(fetches)


def _decode_registers(items: Any) -> messages.Registers:
    fetched = []
    for number, version, register in items:
        _integers((version,), 0, VERSION_MAX)
        if register != b"" and not is_shaped(register):
            raise ValueError(register)
        fetched.append(messages.Fetched(_number(number), version, register))
    return messages.Registers(tuple(fetched))


def _relayed_operation(item: Any) -> messages.RelayedOperation:
    number, exposed, kind, argument, condition, expiry = item
    _integers((exposed,), 1, BALLOT_MAX)
    if type(kind) is not int or not 0 < kind < len(operations.KIND_NAMES):
        raise ValueError(kind)
    if not operations.is_well_formed(kind, argument, condition, expiry):
        raise ValueError(item)
    return messages.RelayedOperation(_number(number), exposed, kind, argument, condition, expiry)


def _decode_relays(items: Any) -> messages.Relays:
    relays = []
    for number, key, ballot, relayed in items:
        _keys((key,))
        _integers((ballot,), 1, BALLOT_MAX)
        if not relayed:
            raise ValueError("an empty relay")
        relays.append(
            messages.RelayItem(_number(number), key, ballot, tuple([_relayed_operation(item) for item in relayed]))
        )
    return messages.Relays(tuple(relays))


def _decode_relay_answers(items: Any) -> messages.RelayAnswers:
    answers = []
    for number, promised, start, results in items:
        _integers((promised,), 0, BALLOT_MAX)
        for status, value, version, expires_at in results:
            if type(status) is not int or status not in _STATUSES or not (value is None or type(value) in (bytes, int)):
                raise ValueError(results)
            _integers((version, expires_at), 0, VERSION_MAX)
        answers.append(messages.RelayAnswer(_number(number), promised, _number(start), results))
    return messages.RelayAnswers(tuple(answers))


def _bound(value: Any) -> bytes | None:
    if value is not None and type(value) is not bytes:
        raise ValueError(value)
    return value


def _decode_pages(number: Any, start: Any, end: Any, limit: Any) -> messages.Pages:
    if type(start) is not bytes:
        raise ValueError(start)
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(limit)
    return messages.Pages(_number(number), start, _bound(end), limit)


def _decode_page(number: Any, start: Any, keys: Any, versions: Any, following: Any) -> messages.Page:
    if type(start) is not bytes:
        raise ValueError(start)
    _equal_lengths(_keys(keys), _integers(versions, 0, VERSION_MAX))
    return messages.Page(_number(number), start, keys, versions, _bound(following))


_DECODERS: Final[tuple[Callable[..., Message], ...]] = (
    _decode_proposals,
    _decode_accepted,
    _decode_promised,
    _decode_refused,
    _decode_reads,
    _decode_versions,
    _decode_fetches,
    _decode_registers,
    _decode_relays,
    _decode_relay_answers,
    _decode_pages,
    _decode_page,
)

CODEC: Final = make_codec(_ENCODERS, _DECODERS, shared=messages.Proposals)
