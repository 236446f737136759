"""The micro-benchmarks run; what they measure is no test's business."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.parametrize("name", ["engine", "wire"])
def test_a_quick_run_prints_a_figure_for_everything(name: str) -> None:
    command = [sys.executable, str(BENCH / f"{name}.py"), "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found
    assert all(figure > 0 for row in found.values() for figure in row.values())
