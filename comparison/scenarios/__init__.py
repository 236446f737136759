"""The questions, one file each, in the order of their worth."""

from typing import Final

from comparison.scenarios.bytes import Bytes
from comparison.scenarios.contract import Scenario
from comparison.scenarios.failure import Failure
from comparison.scenarios.hot_key import HotKey
from comparison.scenarios.jitter import Jitter
from comparison.scenarios.more_nodes import MoreNodes
from comparison.scenarios.recovery import Recovery
from comparison.scenarios.slow_replica import SlowReplica
from comparison.scenarios.throughput import OfferedLoad, Throughput
from comparison.scenarios.wide_area import WideArea
from comparison.scenarios.ycsb import Ycsb

ALL: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Throughput(),
        Failure(),
        HotKey(),
        WideArea(),
        OfferedLoad(),
        SlowReplica(),
        Ycsb(),
        Bytes(),
        Recovery(),
        MoreNodes(),
        Jitter(),
    )
}
