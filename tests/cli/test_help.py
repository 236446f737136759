"""Help that teaches: every command has an example, every option a text, and it fits an 80 column terminal."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from paxoskv.cli import how_to_call, main

COMMANDS = main.list_commands(click.Context(main))
# As they are called; a group is called by its commands.
CALLED = [
    " ".join([name, *part])
    for name in COMMANDS
    for found in [main.get_command(click.Context(main), name)]
    for part in ([[sub] for sub in found.commands] if isinstance(found, click.Group) else [[]])
]


def help_of(*command: str) -> str:
    result = CliRunner().invoke(main, [*command, "--help"], prog_name="paxoskv", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    return result.stdout


def command(name: str) -> click.Command:
    found: click.Command = main
    for part in name.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), part)
        assert inner is not None
        found = inner
    return found


@pytest.mark.parametrize("name", CALLED)
def test_help_has_an_example_of_the_command(name: str) -> None:
    _, _, examples = help_of(*name.split()).partition("Examples:\n")
    assert f"paxoskv {name}" in examples


@pytest.mark.parametrize("names", [[], *([name] for name in COMMANDS), *(name.split() for name in CALLED)])
def test_help_fits_80_columns(names: list[str]) -> None:
    assert [line for line in help_of(*names).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", CALLED)
def test_every_option_says_what_it_does(name: str) -> None:
    for parameter in command(name).params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, parameter.opts


@pytest.mark.parametrize("name", CALLED)
def test_no_option_is_bounded_by_what_is_none(name: str) -> None:
    """--from and --to of film were, in their help: x<=None."""
    assert "None" not in help_of(*name.split())


@pytest.mark.parametrize("name", CALLED)
def test_everything_has_json(name: str) -> None:
    assert "--json" in {name for parameter in command(name).params for name in parameter.opts}


def test_the_first_help_lists_all_commands_in_whole_sentences_and_the_exit_codes() -> None:
    text = help_of()
    for name in COMMANDS:
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {name} ")]
        assert line.endswith("."), "click cuts what is too long"
        assert not line.endswith("..."), "click cuts what is too long"
    for code in (0, 1, 2, 3, 4):
        assert f"\n      {code}    " in text
    assert "PAXOSKV_ENDPOINTS" in text


def test_h_is_help_and_nothing_at_all_is_help_too() -> None:
    assert CliRunner().invoke(main, ["get", "-h"]).exit_code == 0
    assert "Commands:" in CliRunner().invoke(main, []).output


def test_a_command_on_keys_does_not_load_the_server_nor_the_tables() -> None:
    script = "import sys, paxoskv.cli.data; print([m for m in sys.modules if m.split('.')[:2] == ['paxoskv', 'server']"
    script += " or m.split('.')[0] in ('rich', 'sqlite3', 'uvloop')])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def test_what_is_to_be_pasted_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/site-packages/paxoskv/__main__.py"])
    line = how_to_call("--version")
    assert subprocess.check_output(line, shell=True, text=True).startswith("paxoskv, version ")
    monkeypatch.setattr(sys, "argv", ["some where/paxoskv"])
    assert how_to_call("get", "a key").endswith("/some where/paxoskv' get 'a key'")
