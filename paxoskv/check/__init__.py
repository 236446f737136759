"""Linearizability of key-value histories. Imports nothing else of ours: a checker that shares code shares bugs."""

from paxoskv.check.checker import BUDGET, check
from paxoskv.check.history import Fault, History, Operation
from paxoskv.check.verdict import KeyVerdict, Result, Verdict, Way

__all__ = ["BUDGET", "Fault", "History", "KeyVerdict", "Operation", "Result", "Verdict", "Way", "check"]
