"""The blocking client: the same as the asyncio one, from any number of threads."""

import concurrent.futures
import inspect
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from client.fake_node import FakeNode, ThreadedNodes, threaded_nodes
from harness.processes import started

import paxoskv
import paxoskv.sync
from paxoskv.client import blocking
from paxoskv.core import errors

NAMES = [name for name, _ in inspect.getmembers(paxoskv.Client, inspect.isfunction) if not name.startswith("_")]


def connect(threaded: ThreadedNodes, timeout: float = 60.0) -> paxoskv.sync.BlockingClient:
    return paxoskv.sync.connect(threaded.endpoints, timeout=timeout)


def switch(name: str, value: object) -> Callable[[FakeNode], None]:
    return lambda node: setattr(node, name, value)


def test_the_twins_have_the_same_public_names() -> None:
    blocking = [name for name, _ in inspect.getmembers(paxoskv.sync.BlockingClient, inspect.isfunction)]
    assert [name for name in blocking if not name.startswith("_")] == NAMES
    assert "swap" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_twins_have_the_same_signatures_and_only_one_of_them_has_to_be_awaited(name: str) -> None:
    theirs = getattr(paxoskv.sync.BlockingClient, name)
    ours = getattr(paxoskv.Client, name)
    assert inspect.signature(theirs).parameters == inspect.signature(ours).parameters
    if name == "scan":
        assert inspect.isasyncgenfunction(ours)
        assert inspect.isgeneratorfunction(theirs)
        return
    assert inspect.signature(theirs) == inspect.signature(ours)
    assert inspect.iscoroutinefunction(ours)
    assert not inspect.iscoroutinefunction(theirs)


def test_both_connects_take_the_same_arguments() -> None:
    theirs, ours = inspect.signature(paxoskv.sync.connect), inspect.signature(paxoskv.connect)
    assert theirs.parameters == ours.parameters


def test_every_operation_works_as_in_the_twin(threaded: ThreadedNodes) -> None:
    with connect(threaded) as kv:
        assert kv.get("k") == (None, 0)
        version = kv.put("k", "v", if_version=0)
        assert kv.get("k") == (b"v", version)
        assert kv.cas("k", "v", "5") > version
        assert kv.incr("k", -7).value == -2
        assert kv.append("k", "0").length == 3
        assert kv.swap("k", "v").old == b"-20"
        with pytest.raises(paxoskv.ConditionFailed) as failed:
            kv.delete("k", if_version=version)
        assert failed.value.value == b"v"
        assert kv.delete("k")
        assert [status["node"] for status in kv.status()] == [1, 2]
        with pytest.raises(paxoskv.BadRequest):
            kv.get("")


def test_many_threads_share_one_client(threaded: ThreadedNodes) -> None:
    with connect(threaded) as kv, concurrent.futures.ThreadPoolExecutor(16) as pool:
        counters = list(pool.map(lambda number: kv.incr(f"k{number % 10}"), range(1000)))
    assert sorted(counter.value for counter in counters) == sorted(list(range(1, 101)) * 10)
    assert [node.accepted for node in threaded.nodes] == [1, 1]


def test_a_forked_child_is_told_to_connect_for_itself_and_does_no_harm(threaded: ThreadedNodes) -> None:
    script = f"""
import os, signal, paxoskv.sync
with paxoskv.sync.connect({threaded.endpoints!r}) as kv:
    if (child := os.fork()) == 0:
        signal.alarm(20)  # So that a call which hangs ends.
        try:
            kv.get("k")
        except paxoskv.NotReached as error:
            kv.close()
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    print(os.waitpid(child, 0)[1], kv.incr("k").value)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "1"], done


def test_a_silent_node_leaves_a_write_unknown(threaded: ThreadedNodes) -> None:
    with connect(threaded) as kv:
        threaded.do(switch("hang", True))
        with pytest.raises(paxoskv.OutcomeUnknown):
            kv.put("k", "v", timeout=0.1)


def test_no_node_is_an_error_and_no_thread_stays_behind() -> None:
    before = threading.active_count()
    with pytest.raises(paxoskv.NotReached):
        paxoskv.sync.connect("127.0.0.1:1", timeout=0.05)
    with pytest.raises(paxoskv.BadRequest):
        paxoskv.sync.connect("127.0.0.1")
    assert threading.active_count() == before


def test_after_close_calls_are_refused_and_closing_again_does_nothing(threaded: ThreadedNodes) -> None:
    before = threading.active_count()
    kv = connect(threaded)
    kv.close()
    kv.close()
    with pytest.raises(paxoskv.NotReached, match="the client is closed"):
        kv.put("k", "v")
    assert threading.active_count() == before


def test_close_ends_the_calls_of_other_threads_with_what_is_known_of_them(threaded: ThreadedNodes) -> None:
    """None of them may wait for ever for a loop that runs no more."""
    threaded.do(switch("hang", True))
    kv = connect(threaded)
    calls: list[Callable[[], Any]] = [lambda: kv.put("k", "v"), lambda: kv.get("k"), kv.status] * 5
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        # All are on their way: one that had not begun would rightly be told that the client is closed.
        while sum(len(node.seen) + node.statuses_seen for node in threaded.nodes) < 10 + 5 * len(threaded.nodes):
            time.sleep(0.001)
        kv.close()
        raised = [future.exception(30) for future in futures]
    assert {type(error) for error in raised[0::3]} == {paxoskv.OutcomeUnknown}
    assert {type(error) for error in raised[1::3]} == {paxoskv.ClientClosed}
    assert not paxoskv.ClientClosed.retryable, "or a loop that asks would never end"
    assert {type(error) for error in raised[2::3]} == {type(None)}, "status() reports, and does not raise"


def test_close_races_with_calls_and_every_call_ends(threaded: ThreadedNodes) -> None:
    for _ in range(30):
        kv = connect(threaded)
        started = threading.Barrier(5)

        def call(kv: paxoskv.sync.BlockingClient = kv, started: threading.Barrier = started) -> int:
            started.wait()
            count = 0
            while True:
                try:
                    kv.incr("k")
                except errors.NotReached:
                    return count
                except errors.OutcomeUnknown:
                    pass
                count += 1

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(call) for _ in range(4)]
            started.wait()
            kv.close()
            for future in futures:
                future.result(30)


INTERRUPTED = """
import sys, paxoskv, paxoskv.sync
kv = paxoskv.sync.connect(sys.argv[1], timeout=60)
print("calling", flush=True)
try:
    kv.put("k", "v")
except KeyboardInterrupt:
    print("interrupted", flush=True)
sys.stdin.readline()
print(kv.get("other").version, flush=True)
kv.close()
"""


def test_ctrl_c_gives_up_the_call_and_the_client_stays_usable(threaded: ThreadedNodes) -> None:
    threaded.do(switch("hang", True))
    command = [sys.executable, "-c", INTERRUPTED, threaded.nodes[0].address]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "calling\n"
        threaded.until(lambda node: len(node.seen) == 1)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        threaded.do(switch("hang", False))
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "0\n"
    assert process.returncode == 0


def test_a_script_that_forgets_to_close_ends_anyway_and_quietly(threaded: ThreadedNodes) -> None:
    script = "import sys, paxoskv.sync; kv = paxoskv.sync.connect(sys.argv[1]); kv.put('k', 'v')"
    done = subprocess.run(
        [sys.executable, "-c", script, threaded.endpoints], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_scan_that_breaks_off_has_handed_over_all_that_came() -> None:
    """Items of the same handful were lost with the error."""

    def two_pages(node: FakeNode) -> None:
        node.page_keys = 50
        node.store.update({b"k%03d" % number: (b"v", number + 1, 0) for number in range(150)})
        take = node.take_scan

        def take_two(session: Any, body: tuple[Any, ...]) -> None:
            if len(node.scans_seen) == 2:
                node.refuse_with = errors.BadRequest.status
            take(session, body)

        node.take_scan = take_two  # type: ignore[method-assign]

    with threaded_nodes(1) as nodes:
        nodes.do(two_pages)
        with connect(nodes) as kv:
            items = kv.scan()
            assert len([next(items) for _ in range(100)]) == 100
            with pytest.raises(paxoskv.BadRequest):
                next(items)


def test_a_ctrl_c_just_when_it_has_connected_ends_and_leaves_no_thread(
    threaded: ThreadedNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = blocking._Call.wait

    def interrupted(call: blocking._Call[None]) -> None:
        wait(call)
        raise KeyboardInterrupt

    monkeypatch.setattr(blocking._Call, "wait", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        connect(threaded)
    assert threading.active_count() == before


@pytest.mark.parametrize("begun", [False, True])
def test_a_ctrl_c_while_a_call_is_handed_over_leaves_nothing_that_close_waits_for(begun: bool) -> None:
    """The coroutine was closed under its task, which then never ended."""
    with threaded_nodes(1) as threaded:
        threaded.do(switch("hang", True))
        kv = connect(threaded)
        hand_over = kv._loop.call_soon_threadsafe

        def interrupted(*arguments: Any) -> None:
            del kv._loop.call_soon_threadsafe  # type: ignore[method-assign]
            if begun:
                hand_over(*arguments)
                threaded.until(lambda node: len(node.seen) == 1)
            raise KeyboardInterrupt

        kv._loop.call_soon_threadsafe = interrupted  # type: ignore[method-assign, assignment]
        with pytest.raises(KeyboardInterrupt):
            kv.put("k", "v")
        threaded.do(switch("hang", False))
        assert kv.get("other").version == 0
        closing = threading.Thread(target=kv.close, daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()


def test_a_signal_handler_may_close_the_client_in_the_middle_of_a_call(
    threaded: ThreadedNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for a lock that the interrupted call held."""
    kv = connect(threaded)
    wait = blocking._Call.wait

    def interrupted(call: blocking._Call[object]) -> None:
        monkeypatch.setattr(blocking._Call, "wait", wait)
        signal.raise_signal(signal.SIGUSR1)
        wait(call)

    former = signal.signal(signal.SIGUSR1, lambda *_: kv.close())
    try:
        monkeypatch.setattr(blocking._Call, "wait", interrupted)
        threaded.do(switch("hang", True))
        with pytest.raises(paxoskv.PaxosKVError):
            kv.get("k")
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_a_finalizer_in_the_client_s_own_thread_is_told_and_everybody_else_goes_on(threaded: ThreadedNodes) -> None:
    with connect(threaded) as kv:
        said: list[BaseException] = []

        def as_the_garbage_collector_does() -> None:
            try:
                kv.get("k")
            except BaseException as error:
                said.append(error)

        kv._loop.call_soon_threadsafe(as_the_garbage_collector_does)
        assert kv.get("k").version == 0
        [error] = said
        assert isinstance(error, paxoskv.BadRequest)
        assert "in its own thread" in str(error)
        kv._loop.call_soon_threadsafe(kv.close)
        kv._thread.join()
        with pytest.raises(paxoskv.NotReached, match="the client is closed"):
            kv.get("k")


def test_a_finalizer_at_the_end_of_the_interpreter_does_not_wait_for_a_thread_that_is_gone(
    threaded: ThreadedNodes,
) -> None:
    script = """
import sys, paxoskv.sync
kv = paxoskv.sync.connect(sys.argv[1])
class Lease:
    def __init__(self): self.me = self; kv.put("k", "v")
    def __del__(self): kv.delete("k")
lease = Lease()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, threaded.endpoints], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "the interpreter is ending" in done.stderr
