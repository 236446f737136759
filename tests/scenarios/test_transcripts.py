"""Every transcript causes what it says. REWRITE=1 writes down what it causes now; read the difference."""

import os
from pathlib import Path

import pytest

from scenarios import runner


@pytest.mark.parametrize("path", runner.files(), ids=lambda path: path.stem)
def test_the_transcript_causes_what_it_says(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    now = runner.play(text)
    if os.environ.get("REWRITE"):
        path.write_text(now, encoding="utf-8")
    else:
        assert now == text
