"""Every transcript causes what it says. REWRITE=1 writes down what it causes now; read the difference."""

import os
from pathlib import Path

import pytest
from harness.canaries import planted
from harness.raft_canaries import RAFT_RARE
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


def test_figure_3_7_is_there_for_a_leader_that_counts_entries_of_earlier_terms() -> None:
    canary = next(canary for canary in RAFT_RARE if "by counting" in canary.name)
    (path,) = [path for path in FILES if path.stem.startswith("figure-3-7")]
    text = path.read_text(encoding="utf-8")
    with planted(canary):
        try:
            now = runner.play(text, Transcript)
        except AssertionError:
            return
    assert now != text
