"""The model of more machines: that it counts what it says, is the same every time, and finds what it was made from."""

import pytest

from comparison import model, prediction
from comparison.model import MODES, Ring, ServiceTimes, Setting
from comparison.prediction import Measured

TIMES = ServiceTimes(turn=40, frame=15, operation=5, kilobyte=40, commit=20, client=4, sync=100)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_waits_for_a_round_and_the_disks(mode: str) -> None:
    counts, _ = model.measure(Setting(mode, 3, 1, processors=0, one_way_s=0.01, keys=10), TIMES, 50)
    # To the node and back, to the others and back; and processors, and disks, of less than a millisecond.
    assert 0.040 < counts.seconds / counts.operations < 0.042


@pytest.mark.parametrize("mode", MODES)
def test_the_same_setting_gives_the_same_figures(mode: str) -> None:
    setting = Setting(mode, 5, 32, processors=2, keys=100)
    first, second = (model.measure(setting, TIMES, 500) for _ in range(2))
    assert first == second
    assert first[0].commits > 0
    assert first[0].peer_bytes > 64 * 2 * 500, "a value goes to a majority at the least"


def test_without_a_leader_machines_add_up_and_with_one_log_they_do_not() -> None:
    def speed(mode: str, machines: int) -> float:
        return model.measure(Setting(mode, machines, 64 * machines, 3, keys=200), TIMES, 3000)[0].ops_per_s

    assert speed("leaderless", 9) > 2 * speed("leaderless", 3)
    assert speed("raft", 9) < 1.5 * speed("raft", 3)


def test_shared_processors_are_never_more_than_there_are() -> None:
    counts, _ = model.measure(Setting("leaderless", 5, 64, processors=2, keys=200), TIMES, 2000)
    assert prediction.cpu_us(counts, TIMES) * counts.ops_per_s < 2e6


def test_a_ring_gives_every_node_its_share() -> None:
    ring = Ring(7, 3)
    found = {ring.replicas(b"%d" % number) for number in range(1000)}
    assert {len(replicas.nodes) for replicas in found} == {3}
    assert {replicas.quorum for replicas in found} == {2}
    assert sorted(node for replicas in found for node in replicas.nodes) == sorted(3 * list(range(1, 8)))
    assert ring.replicas(b"a") is ring.replicas(b"a")


def test_calibration_finds_what_the_points_were_made_with() -> None:
    points = []
    for nodes, clients in ((3, 1), (3, 8), (3, 32), (3, 128), (5, 64)):
        setting = Setting("raft", nodes, clients, processors=2, keys=100)
        counts, leading = model.measure(setting, TIMES, max(300, 10 * clients))
        cpus = (prediction.cpu_us(counts, TIMES), prediction.cpu_us(leading, TIMES))
        points.append(Measured(setting, counts.ops_per_s, *cpus))
    times = prediction.calibrate(points, TIMES.sync)
    for point in points:
        counts, _ = model.measure(point.setting, times, max(300, 10 * point.setting.clients))
        assert prediction.cpu_us(counts, times) == pytest.approx(point.cpu_us, rel=0.1)
        assert counts.ops_per_s == pytest.approx(point.ops_per_s, rel=0.15)


def test_fitted_times_are_not_below_zero() -> None:
    assert prediction.non_negative([[1.0, 0.0], [0.0, 2.0]]) == pytest.approx([1.0, 0.5])
    assert prediction.non_negative([[1.0, 1.0], [2.0, 0.5], [3.0, 0.1]])[1] >= 0
