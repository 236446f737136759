"""The command line. Commands are imported when they are called, so that `paxoskv get` need not load the server."""

import importlib
import itertools
import json
import math
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from paxoskv import __version__
from paxoskv.cli.streams import output_errors, repair_standard_streams, say, whatever_becomes_of_it
from paxoskv.core.build import COMPILED
from paxoskv.core.errors import BadRequest, ConditionFailed, ConfigurationError, PaxosKVError

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

# Exit codes; 0 is success.
NOT_THERE = 1
BAD_USAGE = 2
DEFINITE_ERROR = 3
OUTCOME_UNKNOWN = 4
# Beyond those: what shells and supervisors understand.
DEFECT = 70
INTERRUPTED = 130
_AS_JSON = "paxoskv.json"
_JSON_VARIABLE = "PAXOSKV_JSON"
_YES = ("1", "on", "t", "true", "y", "yes")  # As click has it.
# A value that is longer is not part of a sentence.
_SHOWN_BYTES_MAX = 60

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
    "expire": "paxoskv.cli.data",
    "persist": "paxoskv.cli.data",
    "ttl": "paxoskv.cli.data",
    "scan": "paxoskv.cli.data",
    "status": "paxoskv.cli.status",
    "raft": "paxoskv.cli.raft",
    "bench": "paxoskv.cli.bench",
    "demo": "paxoskv.cli.demo",
    "verify": "paxoskv.cli.verify",
    "simulate": "paxoskv.cli.simulate",
    "explore": "paxoskv.cli.explore",
    "check": "paxoskv.cli.check",
    "film": "paxoskv.cli.film",
}
# Of these, what a Ctrl-C left undone is no question.
_CHANGE_NOTHING = {"get", "ttl", "scan", "status"}
_ASK_NOBODY = {"simulate", "explore", "check", "film"}


class _Group(click.Group):
    """Loads a command's module on demand, and turns errors into a sentence, an object, and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        module = _COMMANDS.get(name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def main(self, *args: Any, **options: Any) -> Any:
        """As click has it, but the exit code stands whatever becomes of the words: 1 means that nothing changed."""
        repair_standard_streams()
        try:
            # What click answers here is the code of --help, --version and the like.
            code = super().main(*args, **options | {"standalone_mode": False}) or 0
        except SystemExit as error:
            code = error.code
        except click.ClickException as error:
            with whatever_becomes_of_it():
                error.show()
            code = error.exit_code
        except click.Abort:
            code = INTERRUPTED
        for stream in (sys.stdout, sys.stderr):
            # Or else Python does so at its end, and exits with 120 if it cannot.
            with whatever_becomes_of_it():
                stream.flush()
        sys.exit(code)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with output_errors():
            return super().make_context(*args, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Before anything is parsed, because what cannot be parsed is reported as well.
        ctx.meta[_AS_JSON] = "--json" in itertools.takewhile(lambda arg: arg != "--", args) or (
            os.environ.get(_JSON_VARIABLE, "").lower() in _YES
        )
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if ctx.meta[_AS_JSON]:
                _print_error("bad-usage", error.format_message())
            raise

    def invoke(self, ctx: click.Context) -> object:
        with output_errors():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> object:
        as_json: bool = ctx.meta[_AS_JSON]
        try:
            return super().invoke(ctx)
        except PaxosKVError as error:
            report(error, as_json)
            raise SystemExit(exit_code(error)) from None
        except click.UsageError as error:
            if as_json:
                _print_error("bad-usage", error.format_message())
            raise
        except KeyboardInterrupt:
            if ctx.invoked_subcommand in _ASK_NOBODY:
                _end(INTERRUPTED, "interrupted", "it had not come to its end", as_json, definite=True)
            if ctx.invoked_subcommand in _CHANGE_NOTHING:
                _end(INTERRUPTED, "interrupted", "no key was changed", as_json, definite=True)
            _end(INTERRUPTED, "interrupted", "what was under way may or may not have happened", as_json)
        except (OSError, click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception:
            # Python's own exit code for this is 1, by which a script would understand that a key is absent.
            with whatever_becomes_of_it():
                traceback.print_exc()
            _end(DEFECT, "defect", "this is a defect of paxoskv; please report it with the lines above", as_json)


def _end(code: int, name: str, sentence: str, as_json: bool, *, definite: bool = False) -> NoReturn:
    if as_json:
        _print_error(name, sentence, definite)
    say(f"{name}: {sentence}", err=True)
    raise SystemExit(code) from None


def _print_error(code: str, message: str, definite: bool = True) -> None:
    say(json.dumps({"error": code, "definite": definite, "message": message}))


def json_option(help_text: str) -> Callable[[F], F]:
    """--json, which also decides how errors are reported."""
    return click.option("--json", "as_json", is_flag=True, envvar=_JSON_VARIABLE, help=help_text)


def is_given(name: str) -> bool:
    """Whether the caller of the present command gave this parameter, in words or in the environment."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def to_write(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """An option's callback: refuse a place where nothing can be written before the work, and not after it."""
    if path is not None:
        folder = path.absolute().parent
        if not folder.is_dir():
            raise click.BadParameter(f"there is no folder {folder}")
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise click.BadParameter(f"{path} cannot be written")
    return path


def check_not_input(path: Path | None, source: str | Path, option: str) -> None:
    """Refuse to write over what is read."""
    if path is not None and source != "-" and path.is_file() and Path(source).exists() and path.samefile(source):
        raise click.UsageError(f"{option} {path} is the file that is read; give another one")


def make_console(*, stderr: bool = False) -> "Console":
    """Rich's, to print to. A reader that has seen enough is what it is everywhere else; rich would exit with 1."""
    from rich.console import Console

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            raise

    return Ours(stderr=stderr)


class Number(click.FloatRange):
    """A number within bounds, and neither infinite nor none at all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no number that can be used here", param, ctx)
        return found

    def _describe_range(self) -> str:
        # Click's own says x<=None of what has no bounds.
        return "" if self.min is None and self.max is None else super()._describe_range()


def check_folder(out: Path, option: str) -> None:
    """Refuse a folder that cannot be made, or not be written to, before the work, and not after it."""
    there = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.exists(path))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"the report cannot be written to {out}: {there} is no folder to write to; give {option}"
        )


def check_asserts() -> None:
    """Refuse to judge an engine whose invariants, which are asserts, are switched off."""
    if not __debug__:
        raise ConfigurationError("paxoskv refuses to run under python -O: its invariants are asserts; drop the -O")


def exit_code(error: PaxosKVError) -> int:
    """The exit code that tells scripts what became of the operation."""
    if not error.definite:
        return OUTCOME_UNKNOWN
    if isinstance(error, ConditionFailed):
        return NOT_THERE
    if isinstance(error, BadRequest | ConfigurationError):
        return BAD_USAGE
    return DEFINITE_ERROR


def report(error: PaxosKVError, as_json: bool) -> None:
    """One sentence on standard error; with --json one object on standard output."""
    sentence = str(error)
    if isinstance(error, ConditionFailed):
        if as_json:
            fields = {"error": error.code, "definite": True, "message": sentence}
            say(json.dumps(fields | value_fields(error.value) | {"version": error.version}))
        elif error.value is not None and len(error.value) <= _SHOWN_BYTES_MAX:
            sentence += f"; its value is {ascii(error.value)[1:]}"
    elif as_json:
        _print_error(error.code, sentence, error.definite)
    say(f"{error.code}: {sentence}", err=True)


def how_to_call(*arguments: str) -> str:
    """A command line that does these things, to be pasted into another shell."""
    program = sys.argv[0]
    if os.path.basename(program) == "__main__.py":
        words = [sys.executable, "-m", "paxoskv"]
    elif (found := shutil.which("paxoskv")) and os.path.realpath(found) == os.path.realpath(program):
        words = ["paxoskv"]
    else:
        words = [os.path.abspath(program)]
    return shlex.join([*words, *arguments])


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
    epilog="""Every command has --help with examples, and --json for scripts.

    \b
    Exit codes:
        0    done
        1    absent, or the condition does not hold: nothing was changed
        2    bad usage: the command line, the configuration, or the request itself
        3    a definite error: what was asked for did not happen
        4    outcome unknown: it may or may not have happened
        70   a defect of paxoskv, or a node's disk that failed
        74   a file, or the output, could not be read or written
        130  interrupted: a write under way may or may not have happened

    bench, demo, verify, simulate, explore and check say in their --help what 1 and 3 mean there.
    """,
)
@click.version_option(__version__ + (" (compiled)" if COMPILED else ""), prog_name="paxoskv")
def main() -> None:
    """A durable key-value store in which every key is its own Paxos register: any node takes any write.

    \b
    To begin:
        paxoskv demo                            # see a cluster survive
        paxoskv cluster --nodes 3 --dir ./data  # run one on this machine
    and then, in another shell:
        paxoskv put greeting hello
        paxoskv get greeting
        paxoskv status

    Commands go to the nodes named by --endpoints or PAXOSKV_ENDPOINTS, by default 127.0.0.1:7401, 7402 and 7403.
    A KEY or VALUE of - is read from standard input, whatever bytes it has.
    """
