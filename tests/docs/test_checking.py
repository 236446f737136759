"""docs/checking.md: its examples do what it says of them."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from paxoskv.check import Verdict, check, read

TEXT = (Path(__file__).parents[2] / "docs" / "checking.md").read_text(encoding="utf-8")
RIGHT = """
import threading


class Store:
    def __init__(self):
        self.values = {}

    def put(self, key, value):
        self.values[key] = value

    def get(self, key):
        return self.values.get(key)
"""
CACHED = """
class Store:
    def __init__(self):
        self.values, self.cache, self.reads = {}, {}, 0

    def put(self, key, value):
        self.values[key] = value

    def get(self, key):
        self.reads += 1
        if self.reads % 3 == 0 or key not in self.cache:
            self.cache[key] = self.values.get(key)
        return self.cache[key]
"""


def block(language: str, after: str) -> str:
    """The first code block in a language after some words."""
    found = re.search(rf"```{language}\n(.*?)```", TEXT[TEXT.index(after) :], re.DOTALL)
    assert found is not None
    return found[1]


def run(folder: Path, store: str) -> "subprocess.CompletedProcess[str]":
    """The example in pytest, on a store."""
    (folder / "store.py").write_text(store)
    (folder / "test_store.py").write_text(block("python", "<!-- test_store.py -->"))
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
    # On CI pytest says everything once more in its summary.
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_example_passes_for_a_store_that_is_right(tmp_path: Path) -> None:
    done = run(tmp_path, RIGHT)
    assert done.returncode == 0, done.stdout


def test_the_example_fails_for_a_store_that_caches_with_a_sentence_and_a_report(tmp_path: Path) -> None:
    done = run(tmp_path, CACHED)
    assert done.returncode == 1
    assert done.stdout.count("the history is not linearizable\n") == 1, "it is said once"
    assert "but before it began put" in done.stdout
    (report,) = re.findall(r"^report: (.*)$", done.stdout, re.MULTILINE)
    assert Path(report).is_relative_to(tmp_path / "tmp")
    assert "Not linearizable" in Path(report).read_text(encoding="utf-8")
    with Path(report).with_suffix(".jsonl").open("rb") as file:
        assert check(read(file)).verdict is Verdict.ILLEGAL


def test_the_lines_are_a_history() -> None:
    history = read(io.BytesIO(block("json", "From other languages").encode()))
    assert check(history).verdict is Verdict.OK
    assert (len(history), len(history.faults)) == (3, 1)


def test_the_library_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "history.jsonl").write_text(block("json", "From other languages"))
    exec(compile(block("python", "## As a library"), "checking.md", "exec"), {})
    assert (tmp_path / "report.html").exists()
