"""The command line. Commands are imported when they are called, so that `paxoskv get` need not load the server."""

import importlib
import json
import sys

import click

from paxoskv import __version__
from paxoskv.core.errors import BadRequest, ConditionFailed, ConfigurationError, PaxosKVError, StorageError

# Exit codes; 0 is success.
NOT_THERE = 1
BAD_USAGE = 2
DEFINITE_ERROR = 3
OUTCOME_UNKNOWN = 4

_COMMANDS = {
    "serve": "paxoskv.cli.serve",
    "cluster": "paxoskv.cli.cluster",
    "get": "paxoskv.cli.data",
    "put": "paxoskv.cli.data",
    "delete": "paxoskv.cli.data",
    "cas": "paxoskv.cli.data",
    "incr": "paxoskv.cli.data",
    "append": "paxoskv.cli.data",
    "swap": "paxoskv.cli.data",
    "status": "paxoskv.cli.status",
    "bench": "paxoskv.cli.bench",
    "demo": "paxoskv.cli.demo",
}


class _Group(click.Group):
    """Loads a command's module on demand, and turns our errors into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        module = _COMMANDS.get(name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except PaxosKVError as error:
            report(error)
            raise SystemExit(exit_code(error)) from None


def exit_code(error: PaxosKVError) -> int:
    """The exit code that tells scripts what became of the operation."""
    if not error.definite:
        return OUTCOME_UNKNOWN
    if isinstance(error, ConditionFailed):
        return NOT_THERE
    if isinstance(error, BadRequest | ConfigurationError):
        return BAD_USAGE
    return DEFINITE_ERROR


def report(error: PaxosKVError) -> None:
    """One sentence on standard error; with --json one object on standard output."""
    if "--json" in sys.argv[1:]:
        fields: dict[str, object] = {"error": error.code, "definite": error.definite, "message": str(error)}
        if isinstance(error, ConditionFailed) and not isinstance(error, StorageError):
            fields |= value_fields(error.value) | {"version": error.version}
        click.echo(json.dumps(fields))
    click.echo(f"{error.code}: {error}", err=True)


def value_fields(value: bytes | None) -> dict[str, object]:
    """A value for JSON: text where it is text, base64 where it is not."""
    if value is None:
        return {"value": None}
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        import base64

        return {"value_base64": base64.b64encode(value).decode()}


@click.command(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 absent or condition failed, 2 bad usage, 3 definite error (it did not happen), "
    "4 outcome unknown (it may have happened).",
)
@click.version_option(__version__, prog_name="paxoskv")
def main() -> None:
    """A durable key-value store in which every key is its own Paxos register: any node takes any write.

    \b
    To begin:
        paxoskv demo                            watch a cluster survive a killed node
        paxoskv cluster --nodes 3 --dir ./data  a cluster of your own; then, in another shell:
        paxoskv put greeting hello
        paxoskv get greeting
    """
