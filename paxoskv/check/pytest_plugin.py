"""The pytest plugin: a fixture that records a history, and one that asserts that it is linearizable."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from paxoskv.check.history import History
    from paxoskv.check.recorder import Recorder


class AssertLinearizable(Protocol):
    """What the fixture gives."""

    def __call__(self, history: "History | Recorder", *, budget: int = ...) -> None: ...


@pytest.fixture(name="history")
def history_fixture() -> "Recorder":
    """A recorder of calls: `with history.call(client=1, kind="put", key="k", value="v") as call: ...`."""
    from paxoskv.check.recorder import Recorder

    return Recorder()


@pytest.fixture(name="assert_linearizable")
def assert_linearizable_fixture(tmp_path: Path) -> AssertLinearizable:
    """`assert_linearizable(history)` fails with a sentence, and with the path of a report in the test's `tmp_path`."""
    from paxoskv.check import BUDGET, NotLinearizable, assert_linearizable

    def check(history: "History | Recorder", *, budget: int = BUDGET) -> None:
        __tracebackhide__ = True
        sentences = ""
        try:
            assert_linearizable(history, tmp_path, budget)
        except NotLinearizable as error:
            sentences = str(error)
        # Not above, or the sentences would be printed twice, the second time as what happened during the first.
        if sentences:
            pytest.fail(sentences, pytrace=False)

    return check
