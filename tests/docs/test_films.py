"""docs/films.md: its scenarios are those that there are, and its keys those that the page knows."""

import re
from pathlib import Path

from paxoskv import film
from paxoskv.film.scenarios import SCENARIOS

TEXT = (Path(__file__).parents[2] / "docs" / "films.md").read_text(encoding="utf-8")


def test_every_scenario_stands_there_with_its_sentence() -> None:
    assert dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", TEXT, re.M)) == {
        each.name: each.sentence for each in SCENARIOS.values()
    }


def test_every_key_stands_there() -> None:
    hands = (Path(film.__file__).parent / "hands.js").read_text(encoding="utf-8")
    help_ = re.findall(r'^  \["(.+?)", "(?:.+?)"\],$', hands, re.M)
    table = TEXT[TEXT.index("| keys | |") :]
    for keys in help_:
        for key in re.split(r" and |, ", keys):
            assert key in table, key
