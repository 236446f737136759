"""Checkers that are broken on purpose: the comparison with the model notices each of them."""

import pytest
from harness.canaries import Canary, planted

from check.test_agreement import seen_otherwise

_CHAIN = "paxoskv.check.chain:Chain."
_MOVES = "paxoskv.check.gaps.moves:Moves."
_ZONES = "paxoskv.check.zones:Zones."
_SEARCH = "paxoskv.check.search:Search."
_CHECKER = ("paxoskv.check.checker",)

CANARIES = (
    Canary(
        "a chain does not look at the clock",
        "rule 4",
        _CHAIN + "_put_in_order",
        "if not any(map(operator.gt, latest, ended)):",
        "if True:",
    ),
    Canary(
        "what was seen need not be what was made", "rule 1", _CHAIN + "_check_sightings", "if not right:", "if False:"
    ),
    Canary(
        "one version may be made twice",
        "rule 3",
        _CHAIN + "_number_states",
        "if len(writers) < len(makers):",
        "if False:",
    ),
    Canary(
        "a mutation that nobody saw never happened",
        "unknown outcomes",
        _MOVES + "_effective",
        "if value is REFUSED or value == content:",
        "if True:",
    ),
    Canary(
        "deletes without a version go anywhere",
        "gaps",
        _CHAIN + "first_gap",
        "return bisect.bisect_left(self.numbers, self._numbers_in_order[at - 1])",
        "return 0",
    ),
    Canary(
        "zones may overlap",
        "rule 5",
        _ZONES + "_blocks",
        "if any(map(operator.gt, begun, ended[1:])):",
        "if False:",
    ),
    Canary(
        "a chain of tied values does not look at the clock",
        "rule 4",
        _ZONES + "_blocks",
        "if earliest[cluster] < start:",
        "if False:",
    ),
    Canary(
        "zones are believed where they are not exact",
        "unknown outcomes",
        "paxoskv.check.checker:_by_value",
        "if finding.verdict is Verdict.ILLEGAL and not zones.exact:",
        "if False:",
    ),
    Canary(
        "a state is visited once, whatever was used up",
        "memory",
        _SEARCH + "run",
        "if any(used & ~node.used == 0 for used in before):",
        "if before:",
    ),
    Canary(
        "a value that only unknown mutations bring back is not left",
        "pruning",
        _SEARCH + "_may_leave",
        "if last >= following or unknown & ~used or any",
        "if last >= following or any",
    ),
    Canary(
        "appends that nobody saw came in any order",
        "lists",
        "paxoskv.check.growing:number_list",
        "unseen.sort(key=columns.starts.__getitem__)",
        "unseen.reverse()",
        _CHECKER,
    ),
    Canary(
        "the length that an append told is not looked at",
        "texts",
        "paxoskv.check.texts:Texts._rewritten",
        "if length is not None and (after is None or len(after) != length):",
        "if False:",
    ),
    Canary(
        "a delete that found nothing removed something",
        "normal form",
        "paxoskv.check.normal:_deletes",
        "columns.results[row] is not False and ",
        "",
    ),
)
SEEDS = 20_000


@pytest.mark.parametrize("canary", CANARIES, ids=str)
def test_a_broken_checker_is_noticed(canary: Canary) -> None:
    with planted(canary):
        for seed in range(SEEDS):
            try:
                wrong = seen_otherwise(seed)[1]
            except Exception as error:  # An order that its own assertions refuse is noticed as well.
                wrong = repr(error)
            if wrong:
                return
    pytest.fail(f"{SEEDS:,} histories did not notice it")
