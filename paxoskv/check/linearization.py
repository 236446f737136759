"""Writes down an order that explains every answer, so that somebody else can follow it."""

from typing import TextIO

from paxoskv.check.formats.jsonl import line_of_operation
from paxoskv.check.history import Columns


def write_key(target: TextIO, key: bytes, columns: Columns, order: list[int]) -> None:
    """The operations on one key, in an order of their numbers, as lines of the history format with their `number`.

    The keys of a history follow each other; between operations on different keys the file says nothing.
    """
    rows = {number: row for row, number in enumerate(columns.numbers)}
    for number in order:
        target.write(line_of_operation(columns.operation(key, rows[number]), number=number) + "\n")
