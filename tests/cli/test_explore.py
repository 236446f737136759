"""`paxoskv explore`: what it finds, says and refuses."""

import json

import pytest
from click.testing import CliRunner

from paxoskv.cli import main


def test_an_election_is_seen_whole() -> None:
    arguments = ["explore", "--mode", "raft", "--begin", "cold", "--operations", "", "--timeouts", "1", "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0
    found = json.loads(done.output)
    assert (found["states"], found["complete"], found["violation"]) == (155, True, None)


def test_a_search_that_its_bound_ends_says_so() -> None:
    done = CliRunner().invoke(main, ["explore", "--mode", "raft", "--states", "50"])
    assert done.exit_code == 3
    assert "--states ended the search" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--timeouts", "1"], "they need --mode raft"),
        (["--begin", "cold"], "they need --mode raft"),
        (["--mode", "raft", "--begin", "earlier-term", "--nodes", "5"], "a story of three nodes"),
        (["--operations", "4: incr a"], "there is no node 4"),
        (["--operations", "incr a"], "is no operation"),
        (["--operations", "1: take a"], "kinds are get, put, delete, cas, incr, append, swap"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["explore", *arguments])
    assert done.exit_code == 2
    assert said in done.output
