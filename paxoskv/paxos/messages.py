"""What replicas say to each other. Columns for many keys: one message of a kind per peer and turn.

Requests carry a `number`, unique within their sender's incarnation, and their answers repeat it. Which incarnation
that was stands in the header of the frame (wire), so an answer to a former one never reaches an engine (B9).
"""

from dataclasses import dataclass
from typing import NamedTuple

from paxoskv.core.operations import Argument, Condition, Expiry


class Refusal(NamedTuple):
    """Why one key of a batch was refused: the acceptor had promised `promised`, or its floor forbids it (6)."""

    key: bytes
    promised: int
    by_floor: bool


@dataclass(slots=True, eq=False)
class Proposals:
    """Prepares and Accepts of one node. The same object goes to every replica, and its bytes to every journal.

    Columns: prepare_keys, prepare_ballots and prepare_known (the version that the sender has, so that an equal
    register need not be shipped back) belong together, and accept_keys, accept_versions and accept_registers.
    """

    number: int
    prepare_keys: tuple[bytes, ...]
    prepare_ballots: tuple[int, ...]
    prepare_known: tuple[int, ...]
    accept_keys: tuple[bytes, ...]
    accept_versions: tuple[int, ...]
    accept_registers: tuple[bytes, ...]
    encoded: bytes = b""
    """The columns as bytes, filled in by the wire when it encodes or decodes them."""


@dataclass(slots=True, eq=False)
class Accepted:
    """All Accepts of the batch are accepted and durable, but for the exceptions."""

    number: int
    exceptions: tuple[Refusal, ...]


@dataclass(slots=True, eq=False)
class Promised:
    """The batch's Prepares are promised and durable, but for the exceptions.

    `accepted` and `registers` have one entry for each Prepare in its order, beginning with the one at `start` (an
    answer that would exceed a frame comes in parts, each with its own exceptions; Accepted follows the last): the
    highest accepted version (0: none) and its register, None where it is the one that the Prepare named as known. What
    stands there for an exception means nothing. `floor` is the acceptor's (6).
    """

    number: int
    start: int
    accepted: tuple[int, ...]
    registers: tuple[bytes | None, ...]
    exceptions: tuple[Refusal, ...]
    floor: int


@dataclass(slots=True, eq=False)
class Refused:
    """The exceptions of a batch ahead of its answer, which waits for the disk: refusals need not (D1)."""

    number: int
    exceptions: tuple[Refusal, ...]


@dataclass(slots=True, eq=False)
class Reads:
    """Which version of each key have you accepted?"""

    number: int
    keys: tuple[bytes, ...]


@dataclass(slots=True, eq=False)
class Versions:
    """The durable accepted versions, in the order of the Reads' keys, and the floor beside them."""

    number: int
    versions: tuple[int, ...]
    floor: int


class Fetch(NamedTuple):
    """Which version of the key have you accepted, and what is its register?"""

    number: int
    key: bytes


@dataclass(slots=True, eq=False)
class Fetches:
    """Fetches of one turn, each with a number of its own, since their answers can be large."""

    items: tuple[Fetch, ...]


class Fetched(NamedTuple):
    """The durable accepted version and its register."""

    number: int
    version: int
    register: bytes


@dataclass(slots=True, eq=False)
class Registers:
    """Answers to some fetches."""

    items: tuple[Fetched, ...]


class RelayedOperation(NamedTuple):
    """An operation in the hands of another node than its origin. `exposed`: the first ballot at which it was."""

    number: int
    exposed: int
    kind: int
    argument: Argument
    condition: Condition
    expiry: Expiry = None


class RelayItem(NamedTuple):
    """All unresolved operations of the sender on a key, ascending, for the node that holds the key at `ballot`."""

    number: int
    key: bytes
    ballot: int
    operations: tuple[RelayedOperation, ...]


@dataclass(slots=True, eq=False)
class Relays:
    """Relays of one turn."""

    items: tuple[RelayItem, ...]


class RelayAnswer(NamedTuple):
    """The results of a relay, the fields of a Result each, in the order of its operations from `start` on.

    With `promised` not 0 the receiver does not hold the key at the ballot (NotHolder), or has lost it since: the
    operations may have happened all the same, and the results, if any, are its evaluations at that ballot.
    """

    number: int
    promised: int
    start: int
    results: tuple[tuple[int, bytes | int | None, int, int], ...]


@dataclass(slots=True, eq=False)
class RelayAnswers:
    """Answers to relays of one turn."""

    items: tuple[RelayAnswer, ...]


@dataclass(slots=True, eq=False)
class Pages:
    """Which keys from `start` on, and before `end` (None: all), do you have, as far as a page goes, and no more than
    `limit`?"""

    number: int
    start: bytes
    end: bytes | None
    limit: int | None = None


@dataclass(slots=True, eq=False)
class Page:
    """All keys from `start` on and before `following` (None: the end of what was asked for), ascending, and the durable
    accepted versions. 0 says that the key has to be asked for."""

    number: int
    start: bytes
    keys: tuple[bytes, ...]
    versions: tuple[int, ...]
    following: bytes | None


Message = (
    Proposals
    | Accepted
    | Promised
    | Refused
    | Reads
    | Versions
    | Fetches
    | Registers
    | Relays
    | RelayAnswers
    | Pages
    | Page
)
