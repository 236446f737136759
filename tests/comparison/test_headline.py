"""The figures in the README are those of the raw results."""

import os
from pathlib import Path

from comparison.headline import rewritten
from comparison.results import Results

REPOSITORY = Path(__file__).parents[2]


def test_the_readme_has_the_figures_of_the_results() -> None:
    """REWRITE=1 writes them."""
    readme = REPOSITORY / "README.md"
    results = Results.load(REPOSITORY / "comparison" / "results" / "results.json")
    expected = rewritten(readme.read_text(), results)
    if os.environ.get("REWRITE"):
        readme.write_text(expected)
    assert readme.read_text() == expected, "run this test with REWRITE=1"
