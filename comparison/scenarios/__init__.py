"""The questions, one file each, in the order of their worth."""

from typing import Final

from comparison.scenarios.contract import Scenario
from comparison.scenarios.failure import Failure
from comparison.scenarios.throughput import OfferedLoad, Throughput

ALL: Final[dict[str, Scenario]] = {scenario.name: scenario for scenario in (Throughput(), OfferedLoad(), Failure())}
