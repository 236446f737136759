"""The log engine under random schedules, watched; and engines broken on purpose, each of which is noticed.

The five safety properties of the Raft paper (figure 3) are asserted by `harness.raft` at every step. The engines of
`raft.sabotage` that are not listed here need interleavings that more than a thousand schedules do not come to.
"""

import pytest
from harness.raft_schedule import Schedule
from raft.sabotage import SABOTAGE

# The first seed that notices, with some room.
SEEDS = {
    "a vote is not on disk": 10,
    "a term is not on disk": 10,
    "two votes in a term": 80,
    "a vote before the disk has it": 10,
    "a leader whose own vote is not on its disk": 80,
    "votes for any log": 160,
    "entries acknowledged before the disk has them": 10,
    "the leader counts itself before its disk": 10,
    "answers before a majority has the entry": 10,
    "forwarded twice, applied twice": 10,
    "a gap in the batches": 20,
    "a snapshot without the sessions": 60,
    "reads before the term's first entry is committed": 80,
    "an answer to an earlier round confirms a read": 10,
    "entries applied again to newer records": 80,
    "the base is later than the records": 80,
    "a checkpoint forgets the entries after it": 40,
    "parts of an old snapshot": 20,
}


@pytest.mark.parametrize("part", range(6))
def test_whatever_happens_nothing_is_lost_or_done_twice_and_everything_ends(part: int) -> None:
    done = 0
    for seed in range(part * 40, part * 40 + 40):
        done += Schedule(seed).run().total()
    assert done > 0


@pytest.mark.parametrize("name", SEEDS)
def test_an_engine_that_is_broken_is_noticed(name: str) -> None:
    for seed in range(SEEDS[name]):
        try:
            Schedule(seed, build=SABOTAGE[name]).run()
        except Exception:
            return
    pytest.fail(f"{SEEDS[name]} schedules do not notice: {name}")
