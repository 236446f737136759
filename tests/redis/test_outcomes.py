"""What commands make of results that are seldom."""

from typing import cast

from paxoskv.core import errors
from paxoskv.core.operations import VALUE_TOO_LARGE, Result
from paxoskv.redis.commands.counters import incrbyfloat
from paxoskv.redis.commands.keyspace import _Flush
from paxoskv.redis.session import Session

NO_QUORUM = Result(errors.Unavailable.status, b"no majority answered this scan in time", 0)


def test_a_flush_that_has_deleted_some_keys_is_not_said_to_have_done_nothing() -> None:
    flush = _Flush(None)
    assert (flush.failure(NO_QUORUM) or b"").startswith(b"-CLUSTERDOWN no majority")
    flush.deleted = 1
    assert (flush.failure(NO_QUORUM) or b"").startswith(b"-UNKNOWN some of the keys were changed")


def test_a_sum_that_is_too_long_for_a_value_is_an_error() -> None:
    """It ended the node, or the old value was given out for the sum."""
    answer = incrbyfloat(cast(Session, None), [b"k", b"1e4000"])
    for value in (None, b"5"):
        assert answer.finish(Result(VALUE_TOO_LARGE, value, 0), 2).startswith(
            b"-ERR string exceeds maximum allowed size"
        )
