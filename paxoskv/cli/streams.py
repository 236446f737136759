"""Standard input, output and error, which may be closed, full, or read by nobody any more."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Final, TextIO

import click

# Exit codes of what cannot be read or written, and of an output whose reader has seen enough.
IO_ERROR: Final = 74
BROKEN_PIPE: Final = 141


def repair_standard_streams() -> None:
    """Have the three standard streams, of which a supervisor may have closed any.

    The next file or socket would get its number, and libuv aborts when it is to close one below 3. What stands in for
    it cannot be read or written, so that who needs it is told.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # Gets the lowest number that is free, which is this one.
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A value may hold what the terminal's encoding has no signs for.
        sys.stdout.reconfigure(errors="backslashreplace")


def _mute(stream: TextIO) -> None:
    """Have what is still to be written to a stream that takes nothing go nowhere; Python tries again at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def whatever_becomes_of_it() -> Iterator[None]:
    """For words that must not hide the exit code: if nobody takes them, so be it."""
    try:
        yield
    except OSError:
        _mute(sys.stdout)
        _mute(sys.stderr)


@contextlib.contextmanager
def output_errors() -> Iterator[None]:
    """Exit with what shells understand when something cannot be read or written, and nothing worse has happened."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _mute(sys.stdout)
        raise SystemExit(BROKEN_PIPE) from None
    except OSError as error:
        # Standard output above all, on a disk that is full. What was asked for may have been done all the same.
        _mute(sys.stdout)
        what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        with whatever_becomes_of_it():
            click.echo(f"failed: something could not be read or written: {what}", err=True)
        raise SystemExit(IO_ERROR) from None


def say(text: str, *, err: bool = False) -> None:
    """Say what became of it, to whoever still listens."""
    try:
        click.echo(text, err=err)
    except OSError:
        _mute(sys.stderr if err else sys.stdout)
