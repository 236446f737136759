"""The plugin as a user meets it: a folder of their own, a store of their own, and paxoskv merely installed."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from check import reading_reports
from paxoskv.check import History, NotLinearizable, Operation, Recorder, assert_linearizable, check, read
from paxoskv.check.verdict import Verdict

DOCS = Path(__file__).parents[2] / "docs" / "checking.md"

STORE = """
import threading


class Store:
    def __init__(self):
        self._lock = threading.Lock()
        self._data = {}
        self._calls = 0
        self._former = {}

    def get(self, key):
        with self._lock:
            self._calls += 1
            if STALE and self._calls % 20 == 0:
                return self._former.get(key)
            return self._data.get(key)

    def put(self, key, value):
        with self._lock:
            self._former.setdefault(key, value)
            self._data[key] = value
"""
ASYNC_TEST = """
import asyncio


class Store:
    def __init__(self):
        self.value = None

    async def get(self):
        await asyncio.sleep(0)
        return self.value

    async def put(self, value):
        await asyncio.sleep(0)
        if value != LOST:
            self.value = value


async def use(store, history, client):
    for turn in range(5):
        value = f"{client}-{turn}"
        async with history.call(client=client, kind="put", value=value) as call:
            await store.put(value)
            call.returned()
        async with history.call(client=client, kind="get") as call:
            call.returned(await store.get())


def test_store(history, assert_linearizable):
    async def all_of_them():
        store = Store()
        with history.fault("nothing"):
            await asyncio.gather(*(use(store, history, client) for client in range(3)))
        await use(store, history, 3)

    asyncio.run(all_of_them())
    assert_linearizable(history)
"""


def run_pytest(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={folder / 'base'}", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def store_folder(tmp_path: Path, stale: bool) -> Path:
    example = re.search(r"<!-- test_store.py -->\n```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    (tmp_path / "test_store.py").write_text(example.group(1))
    (tmp_path / "store.py").write_text(f"STALE = {stale}\n{STORE}")
    return tmp_path


def test_the_example_of_the_documentation_passes_for_a_store_that_is_right(tmp_path: Path) -> None:
    done = run_pytest(store_folder(tmp_path, stale=False))
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_example_of_the_documentation_fails_for_one_that_is_stale(tmp_path: Path) -> None:
    done = run_pytest(store_folder(tmp_path, stale=True))
    assert done.returncode == 1
    assert "the history is not linearizable" in done.stdout
    assert re.search(r'^key "[xy]": Get by client \w+', done.stdout, re.MULTILINE)
    assert "Traceback" not in done.stdout
    assert done.stdout.count("the history is not linearizable") <= 2, "once, and once in the summary"
    path = Path(re.search(r"^report: (.*)$", done.stdout, re.MULTILINE).group(1))  # type: ignore[union-attr]
    assert reading_reports.read(path).data["verdict"] == "illegal"
    with path.with_suffix(".jsonl").open("rb") as file:
        assert check(read(file)).verdict is Verdict.ILLEGAL


def test_tasks_record_with_async_with(tmp_path: Path) -> None:
    (tmp_path / "test_good.py").write_text(ASYNC_TEST.replace("LOST", '""'))
    (tmp_path / "test_bad.py").write_text(ASYNC_TEST.replace("LOST", '"3-4"'))
    done = run_pytest(tmp_path)
    assert "1 failed, 1 passed" in done.stdout
    assert 'returned "3-3"' in done.stdout


def test_every_test_has_a_report_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_bad.py").write_text(
        "import pytest\n"
        + ASYNC_TEST.replace("LOST", '"3-4"').replace(
            "def test_store(", '@pytest.mark.parametrize("n", [1, 2, 3])\ndef test_store(n, '
        )
    )
    done = run_pytest(tmp_path)
    reports = re.findall(r"^report: (.*)$", done.stdout, re.MULTILINE)
    assert len(set(reports)) == 3
    assert all(Path(path).exists() for path in reports)


def test_a_search_out_of_its_budget_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "test_budget.py").write_text(
        "def test_store(history, assert_linearizable):\n"
        "    for value in 'aabbaabb':\n"
        "        with history.call(client=1, kind='put', value=value) as call:\n"
        "            call.returned()\n"
        "        with history.call(client=1, kind='get') as call:\n"
        "            call.returned(value)\n"
        "    assert_linearizable(history, budget=2)\n"
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 1
    assert "no verdict on the history" in done.stdout


def test_a_history_in_which_nothing_was_recorded_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "def test_store(history, assert_linearizable):\n    assert_linearizable(history)\n"
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 1
    assert "the history is empty" in done.stdout


def test_both_fixtures_introduce_themselves(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--fixtures")
    assert "A recorder of calls" in done.stdout
    assert "fails with a sentence" in done.stdout


def test_what_a_key_held_before_the_test_is_told_to_the_recorder() -> None:
    recorder = Recorder()
    with recorder.call(client=1, kind="get", key="x") as call:
        call.returned("old", version=7)
    assert check(recorder.history()).verdict is Verdict.ILLEGAL
    recorder.initially("x", "old", version=7)
    assert check(recorder.history()).verdict is Verdict.OK


def test_a_history_of_which_nothing_was_answered_is_no_pass() -> None:
    recorder = Recorder()
    with recorder.call(client=1, kind="put", key="x", value="a"):
        pass
    with recorder.call(client=1, kind="get", key="x") as call:
        call.failed()
    with pytest.raises(ValueError, match="none of the 2 calls was answered"):
        assert_linearizable(recorder)
    with recorder.call(client=1, kind="get", key="x") as call:
        call.returned("a")
    assert_linearizable(recorder)


def test_of_many_keys_that_are_wrong_the_first_are_told(tmp_path: Path) -> None:
    recorder = Recorder()
    for number in range(300):
        with recorder.call(client=1, kind="get", key=f"k{number}") as call:
            call.returned("a")
    with pytest.raises(NotLinearizable) as caught:
        assert_linearizable(recorder, tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 2 * 20 + 2
    assert lines[-2] == "and 280 more keys"


def test_a_name_that_cannot_be_written_hides_no_verdict(tmp_path: Path) -> None:
    read = Operation(1, "\ud800", "get", b"k", 0.0, 1.0, "ok", None, None, b"v")
    with pytest.raises(NotLinearizable, match='returned "v", which nobody wrote'):
        assert_linearizable(History([read]), tmp_path)


def test_what_came_of_a_call_is_refused_outside_of_its_block() -> None:
    """It would be lost, and a history of which nothing was answered is always linearizable."""
    recorder = Recorder()
    with recorder.call(client=1, kind="get", key="x") as call:
        pass
    with pytest.raises(RuntimeError, match="inside of its block"):
        call.returned("a")
    with pytest.raises(RuntimeError, match="inside of its block"):
        recorder.call(client=1, kind="put", key="x", value="a").failed()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"value": 5}, "value must be bytes or text, not 5"),
        ({"value": "\ud800"}, "value is '\\ud800', which cannot be encoded as UTF-8; give bytes"),
        ({"value": "a", "key": None}, "key must be bytes or text, not None"),
        ({"value": "a", "client": 1.5}, "client must be a number or a text, not 1.5"),
        ({"value": "a", "client": "\ud800"}, "client is '\\ud800', which cannot be encoded as UTF-8; give bytes"),
        ({"value": "a", "if_version": "1"}, "if_version must be an integer, not '1'"),
        ({"value": "a", "if_version": -1}, "if_version must not be negative, but is -1"),
        ({"value": "a", "kind": "cas", "expected": 5}, "expected must be bytes, text or None, not 5"),
        ({"kind": "incr", "by": True}, "by must be an integer, not True"),
        ({"kind": "incr", "by": "1"}, "by must be an integer, not '1'"),
    ],
)
def test_what_no_history_can_hold_is_refused_when_it_is_recorded(arguments: dict[str, Any], said: str) -> None:
    recorder = Recorder()
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        recorder.call(**{"client": 1, "kind": "put", "key": "x", **arguments})
    assert not len(recorder.history())


def test_an_answer_that_no_call_can_have_is_refused_when_it_is_said() -> None:
    recorder = Recorder()
    with recorder.call(client=1, kind="get") as call:
        for wrong in (5, 1.5, [b"a"]):
            with pytest.raises(TypeError, match="what get returns must be bytes, text or None"):
                call.returned(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="version must be an integer"):
            call.returned("a", version="1")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="get is not refused because of condition-failed"):
            call.refused("a")
    with recorder.call(client=1, kind="put", value="a") as call:
        with pytest.raises(ValueError, match="put was called without if_version"):
            call.refused("a")
        with pytest.raises(ValueError, match="put is not refused because of not-an-integer"):
            call.refused("a", because="not-an-integer")
    with pytest.raises(TypeError, match="value must be bytes, text or None, not 5"):
        recorder.initially("x", 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="version must not be 0 where the key is there"):
        recorder.initially("x", "a", version=0)
    with pytest.raises(TypeError, match="node must be a number or a text"), recorder.fault("kill", 1.5):  # type: ignore[arg-type]
        pass
    assert [each.outcome for each in recorder.history()] == ["unknown", "unknown"]


def test_buffers_are_recorded_as_they_were() -> None:
    recorder = Recorder()
    buffer = bytearray(b"a")
    with recorder.call(client=1, kind="put", key=memoryview(b"x"), value=buffer) as call:
        call.returned()
    buffer[:] = b"b"
    with recorder.call(client=1, kind="get", key="x") as call:
        call.returned(buffer)
    result = check(recorder.history())
    assert 'returned "b", which nobody wrote' in result.violations[0].sentence
