"""The tables in the documentation are what the code says."""

import os
from pathlib import Path

from paxoskv.core.errors import PaxosKVError, all_errors

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"
BEGIN, END = "<!-- errors -->\n", "<!-- /errors -->"


def table() -> str:
    rows = ["| error | code | definite | retryable | meaning |", "| --- | --- | --- | --- | --- |"]
    for error in all_errors():
        meaning = " ".join((error.__doc__ or "").split())
        rows.append(
            f"| `{error.__name__}` | `{error.code}` | {'yes' if error.definite else '**no**'} | "
            f"{'yes' if error.retryable else 'no'} | {meaning} |"
        )
    return "\n".join(rows) + "\n"


def test_the_table_of_errors_is_made_from_the_classes() -> None:
    """REWRITE=1 writes it."""
    text = OPERATING.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    expected = before + BEGIN + table() + END + after
    if os.environ.get("REWRITE"):
        OPERATING.write_text(expected)
    assert OPERATING.read_text() == expected, "run this test with REWRITE=1"


def test_every_error_has_a_sentence_and_a_code_of_its_own() -> None:
    codes = [error.code for error in all_errors()]
    assert len(set(codes)) == len(codes)
    assert all(error.__doc__ and error.__doc__ != PaxosKVError.__doc__ for error in all_errors())
