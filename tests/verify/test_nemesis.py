"""Faults, on a cluster that is none: what cannot be put right again is told."""

import time
from typing import Any, cast

import pytest

from paxoskv.check import Result, Verdict
from paxoskv.core.errors import ConfigurationError
from paxoskv.server.launcher import LocalCluster
from paxoskv.verify import nemesis
from paxoskv.verify.nemesis import Nemesis
from paxoskv.verify.run import Plan, Report


class Cluster:
    """Nodes that can be killed, and come back or do not."""

    def __init__(self, comes_back: bool) -> None:
        self.comes_back = comes_back
        self.calls: list[str] = []

    def kill(self, number: int) -> None:
        self.calls.append("kill")

    def start(self, number: int) -> None:
        self.calls.append("start")

    def wait_ready(self, number: int) -> None:
        self.calls.append("wait")
        if not self.comes_back:
            raise ConfigurationError(f"node {number} is not ready after 60 s")


async def kill_once(comes_back: bool) -> tuple[Nemesis, list[str], list[str]]:
    cluster = Cluster(comes_back)
    said: list[str] = []
    adversary = Nemesis([nemesis.KILL], 1, {1: "127.0.0.1:1"}, cast(LocalCluster, cluster), None, said.append)
    await adversary._strike(nemesis.KILL, 0.0)
    return adversary, said, cluster.calls


async def test_a_node_that_comes_back_is_mended() -> None:
    adversary, said, calls = await kill_once(comes_back=True)
    assert calls == ["kill", "start", "wait"]
    assert adversary.unmended == []
    assert said == ["kill node 1"]
    assert adversary.incidents[0].finish is not None


async def test_a_node_that_does_not_come_back_is_told_and_the_round_goes_on() -> None:
    adversary, said, _ = await kill_once(comes_back=False)
    assert adversary.unmended == ["after kill node 1: node 1 is not ready after 60 s"]
    assert said[1:] == adversary.unmended
    assert adversary.incidents[0].finish is not None


def test_where_something_was_left_broken_there_is_no_verdict_of_ok() -> None:
    def verdict(found: Verdict, *unmended: str) -> Verdict:
        result = Result(found, [], 0, 0)
        plan = Plan(cast(Any, None))
        return Report(plan, "paxos", result, {}, {}, 0, list(unmended), [], time.monotonic()).verdict

    assert verdict(Verdict.OK) is Verdict.OK
    assert verdict(Verdict.OK, "node 1 is not ready") is Verdict.UNKNOWN
    assert verdict(Verdict.ILLEGAL, "node 1 is not ready") is Verdict.ILLEGAL


@pytest.mark.parametrize("kind", [nemesis.SLOW_LINK, nemesis.PARTITION])
async def test_one_node_alone_has_no_links_to_cut(kind: str) -> None:
    adversary = Nemesis([kind], 1, {1: "127.0.0.1:1"}, None, {}, lambda text: None)
    await adversary._strike(kind, 0.0)
    assert (adversary.incidents, adversary.unmended) == ([], [])


async def test_a_nemesis_that_fails_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    adversary = Nemesis([nemesis.SLOW_LINK], 1, {1: "127.0.0.1:1"}, None, {}, lambda text: None)

    async def fail(incident: nemesis.Incident) -> nemesis.Undo:
        raise IndexError("of nothing")

    monkeypatch.setitem(adversary._begin, nemesis.SLOW_LINK, fail)
    monkeypatch.setattr(nemesis, "_PAUSE_S", (0.0, 0.001))
    await adversary.run(time.monotonic() + 0.05)
    assert "the nemesis itself failed: IndexError('of nothing')" in adversary.unmended[0]
