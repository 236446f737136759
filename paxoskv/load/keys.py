"""The keys of a load, and which of them an operation is about."""

import bisect
import itertools
import random
from collections.abc import Callable
from typing import Final

from paxoskv.core.placement import home_index
from paxoskv.load.plan import Plan

# YCSB's constant.
_ZIPF_THETA: Final = 0.99
_SHUFFLED: Final = "hot keys are spread over all keys"


class Keys:
    """All keys of one process's part of a load, by index."""

    def __init__(self, plan: Plan, rng: random.Random, nodes: int) -> None:
        """`nodes`: how many there are, each the home of a part of the keys."""
        self._prefix = plan.prefix.encode()
        self._nodes = nodes
        self.names = [
            self._prefix + b"%d" % number for number in range(1 if plan.distribution == "one-key" else plan.keys)
        ]
        self.homes = [home_index(name, nodes) for name in self.names]
        """By which node each is asked for, as the client library has it."""
        self._inserts = itertools.count(plan.keys + plan.part, plan.parts)
        self.draw = self._drawer(plan, rng)
        """The index of a key, of those that the plan's distribution gives."""

    def insert(self) -> int:
        """The index of a key that nobody has written yet."""
        self.names.append(self._prefix + b"%d" % next(self._inserts))
        self.homes.append(home_index(self.names[-1], self._nodes))
        return len(self.names) - 1

    def _drawer(self, plan: Plan, rng: random.Random) -> Callable[[], int]:
        names = self.names
        count = len(names)
        uniform = rng.random
        if plan.distribution in ("zipf", "latest"):
            weights = list(itertools.accumulate(1 / rank**_ZIPF_THETA for rank in range(1, count + 1)))
            total = weights[-1]
            if plan.distribution == "latest":
                return lambda: len(names) - 1 - bisect.bisect_left(weights, uniform() * total)
            order = list(range(count))
            # Whatever the seed: it differs between the processes of one load, and hot keys must not.
            random.Random(_SHUFFLED).shuffle(order)
            return lambda: order[bisect.bisect_left(weights, uniform() * total)]
        if plan.distribution == "sequential":
            turn = itertools.cycle(range(plan.part % count, count, plan.parts))
            return lambda: next(turn)
        return lambda: int(uniform() * count)
