"""Linearizability of key-value histories. Imports nothing else of ours: a checker that shares code shares bugs.

history = read(open("history.jsonl", "rb"))        or History(operations), or Recorder().history()
result = check(history)
print(result.verdict, [key.sentence for key in result.violations])
"""

from paxoskv.check.assertion import NotLinearizable, assert_linearizable
from paxoskv.check.checker import BUDGET, check
from paxoskv.check.formats import Unreadable, read, write, write_jsonl
from paxoskv.check.history import Fault, History, Operation
from paxoskv.check.recorder import Call, Recorder
from paxoskv.check.report import write_html
from paxoskv.check.verdict import KeyVerdict, Result, Verdict, Way

__all__ = [
    "BUDGET",
    "Call",
    "Fault",
    "History",
    "KeyVerdict",
    "NotLinearizable",
    "Operation",
    "Recorder",
    "Result",
    "Unreadable",
    "Verdict",
    "Way",
    "assert_linearizable",
    "check",
    "read",
    "write",
    "write_html",
    "write_jsonl",
]
