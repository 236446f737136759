"""The assertion that a history is linearizable."""

import tempfile
from pathlib import Path

from paxoskv.check.checker import BUDGET, check
from paxoskv.check.formats.jsonl import write_jsonl
from paxoskv.check.history import History
from paxoskv.check.recorder import Recorder
from paxoskv.check.report import write_html
from paxoskv.check.sentences import describe, quote
from paxoskv.check.verdict import Verdict

HISTORY_NAME = "history.jsonl"
REPORT_NAME = "history.html"
_KEYS_SHOWN_MAX = 20


class NotLinearizable(AssertionError):
    """What is wrong, in sentences, and where the report is."""


def assert_linearizable(history: History | Recorder, directory: Path | None = None, budget: int = BUDGET) -> None:
    """Raise NotLinearizable unless `history` is linearizable, having written it, and a report, to `directory` (if None,
    to a new temporary one). A verdict of unknown, for want of `budget`, raises it too. Raises ValueError if nothing was
    recorded, or nothing answered: that would prove nothing.
    """
    __tracebackhide__ = True
    if isinstance(history, Recorder):
        history = history.history()
    if not len(history):
        raise ValueError("the history is empty: no call was recorded, so it proves nothing")
    result = check(history, budget=budget)
    if not result.answered:
        raise ValueError(f"none of the {len(history):,} calls was answered, so the history proves nothing")
    if result.verdict is Verdict.OK:
        return
    lines = ["the history is not linearizable" if result.violations else "no verdict on the history"]
    # Those that are proven wrong first.
    wrong = sorted((key for key in result.keys if key.verdict is not Verdict.OK), key=lambda key: not key.witness)
    for key in wrong[:_KEYS_SHOWN_MAX]:
        lines.append(f"key {quote(key.key)}: {key.sentence}" if key.key else key.sentence)
        lines += [f"    {describe(operation, history.time_unit)}" for operation in key.witness]
    if len(wrong) > _KEYS_SHOWN_MAX:
        lines.append(f"and {len(wrong) - _KEYS_SHOWN_MAX:,} more keys")
    try:
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="paxoskv-check-"))
        write_jsonl(directory / HISTORY_NAME, history)
        write_html(directory / REPORT_NAME, history, result)
        lines.append(f"report: {directory / REPORT_NAME}")
    except (OSError, UnicodeEncodeError) as error:
        # What is wrong with the disk, or with the name of a client, must not hide what is wrong with the history.
        lines.append(f"there is no report: {error}")
    raise NotLinearizable("\n".join(lines))
