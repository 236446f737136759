"""Every transcript causes what it says. REWRITE=1 writes down what it causes now; read the difference."""

import os
from pathlib import Path

import pytest
from raft.transcript import Transcript
from scenarios import runner

FILES = sorted(Path(__file__).with_name("transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_transcript_causes_what_it_says(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    # So that a follower that was away needs a snapshot.
    log_bytes = 0 if "snapshot" in path.stem else 1 << 25
    now = runner.play(text, lambda nodes: Transcript(nodes, log_bytes=log_bytes))
    if os.environ.get("REWRITE"):
        path.write_text(now, encoding="utf-8")
    else:
        assert now == text
