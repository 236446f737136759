"""Errors answer one question: did it happen?"""

import pickle

import pytest
from client.fake_node import FakeNode

import paxoskv
from paxoskv.core import errors

SENT = [cls for cls in errors.all_errors() if cls.status]


def test_only_one_error_leaves_the_question_open() -> None:
    assert [cls for cls in errors.all_errors() if not cls.definite] == [paxoskv.OutcomeUnknown]


def test_what_may_have_happened_is_never_worth_sending_again() -> None:
    assert all(cls.definite for cls in errors.all_errors() if cls.retryable)


def test_codes_and_statuses_tell_errors_apart() -> None:
    found = errors.all_errors()
    assert len({cls.code for cls in found}) == len(found)
    assert len({cls.status for cls in SENT}) == len(SENT)


def test_users_can_import_every_error_from_the_package() -> None:
    for cls in errors.all_errors():
        assert getattr(paxoskv, cls.__name__) is cls


@pytest.mark.parametrize("cls", SENT)
async def test_a_status_on_the_wire_is_the_error_of_that_status(
    node: FakeNode, cls: type[paxoskv.PaxosKVError]
) -> None:
    node.refuse_with = cls.status
    async with paxoskv.connect(node.address, timeout=0.1) as kv:
        with pytest.raises(paxoskv.PaxosKVError) as failed:
            await kv.put("k", "v")
    assert type(failed.value) is cls
    assert node.store == {}


@pytest.mark.parametrize("cls", errors.all_errors())
def test_errors_travel_between_processes(cls: type[paxoskv.PaxosKVError]) -> None:
    """The load generator's workers, and anybody's process pool, send them home."""
    error = cls("what, where, what to do")
    if isinstance(error, paxoskv.ConditionFailed):
        error = type(error)("what", b"value", 7)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (str(again), vars(again)) == (str(error), vars(error))
