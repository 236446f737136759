"""The tables in the documentation are what the code says."""

import os
import shutil
import textwrap
from pathlib import Path

from harness.processes import running_cluster

import paxoskv
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


async def test_what_a_cluster_with_a_lost_disk_holds_is_copied_to_a_new_one(tmp_path: Path) -> None:
    program = OPERATING.read_text().split("send the writers to the new one:\n")[1].split("    asyncio.run(")[0]
    recipe: dict[str, object] = {}
    exec(textwrap.dedent(program), recipe)
    copy = recipe["copy"]
    assert callable(copy)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    with running_cluster(tmp_path / "old", 3) as old, running_cluster(tmp_path / "new", 3) as new:
        async with paxoskv.connect(old.endpoints) as kv:
            await kv.put("kept", "1")
            await kv.put("expires", "2", ttl=1000)
        old.kill(2)
        shutil.rmtree(old.config.node(2).data)
        async with paxoskv.connect(new.endpoints) as kv:
            await copy(",".join(old.endpoints), ",".join(new.endpoints))
            found = {key: value async for key, value, _ in kv.scan()}
            assert found == {b"kept": b"1", b"expires": b"2"}
            assert 0 < (await kv.ttl("expires") or 0) <= 1000
            assert await kv.ttl("kept") is None
