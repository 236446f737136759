"""Histories in files: our own JSON Lines, and what Jepsen writes."""

from paxoskv.check.formats.jsonl import line_of_fault, line_of_initial, line_of_operation, write, write_jsonl
from paxoskv.check.formats.reading import FORMATS, MODELS, read
from paxoskv.check.formats.unreadable import Unreadable

__all__ = [
    "FORMATS",
    "MODELS",
    "Unreadable",
    "line_of_fault",
    "line_of_initial",
    "line_of_operation",
    "read",
    "write",
    "write_jsonl",
]
