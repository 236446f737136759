"""Every rule is guarded: break it, and some transcript causes something else than it says."""

import pytest
from harness.canaries import PAXOS, Canary, planted

from scenarios import runner


@pytest.mark.parametrize("canary", PAXOS, ids=str)
def test_a_transcript_notices_a_broken_rule(canary: Canary) -> None:
    with planted(canary):
        assert any(_differs(path.read_text(encoding="utf-8")) for path in runner.files())


def _differs(text: str) -> bool:
    try:
        return runner.play(text) != text
    except (AssertionError, RuntimeError, KeyError):
        return True  # An invariant of the engine has broken, or what the next command names is not there.
