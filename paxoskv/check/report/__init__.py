"""The report: one HTML file that needs nothing else, to look at a history and at what is wrong with it.

The page is page.html with the style sheets and scripts of this folder put into it, and with the data: a JSON object
about the whole, and chunks of columns (`paxoskv.check.report.chunks`), which the browser unpacks when a key is looked
at. Nothing in the file is fetched from anywhere, and its content security policy forbids that anything were, or that
a script ran which is not ours: what clients wrote into keys and values is data in every sense.
"""

import html
import json
import math
import os
from typing import Any, Final, TextIO

from paxoskv.check.history import KINDS, OUTCOMES, Fault, History
from paxoskv.check.report import document
from paxoskv.check.report.chunks import Chunks, Shown, text_of
from paxoskv.check.sentences import describe, quote
from paxoskv.check.verdict import KeyVerdict, Result, Verdict

OPERATIONS_MAX: Final = 500_000
"""Operations that a report shows. A browser still pans and zooms through them smoothly."""
KEYS_MAX: Final = 20_000
"""Keys that a report lists."""
FAULTS_MAX: Final = 2_000

_SCRIPTS: Final = (
    "text.js",
    "data.js",
    "lanes.js",
    "paint.js",
    "view.js",
    "timeline.js",
    "page.js",
    "tip.js",
    "hands.js",
    "start.js",
)
_HEADLINES: Final = {
    Verdict.OK: "Linearizable",
    Verdict.ILLEGAL: "Not linearizable",
    Verdict.UNKNOWN: "Unknown",
}
_COLOURS: Final = {Verdict.OK: "#2e7d4f", Verdict.ILLEGAL: "#cf222e", Verdict.UNKNOWN: "#b7791f"}
_WORST_FIRST: Final = (Verdict.ILLEGAL, Verdict.UNKNOWN, Verdict.OK)
# Sentences for browsers without scripts.
_SENTENCES_MAX: Final = 50


def write_html(
    path: str | os.PathLike[str],
    history: History,
    result: Result,
    *,
    source: str = "",
    operations_max: int = OPERATIONS_MAX,
) -> None:
    """Write the report on `result`, which is what `check(history)` said, to a file. Raises OSError.

    `source` says where the history is from, a file's name for example. Of more than `operations_max` operations only so
    many get into the report: those of keys that are wrong first, and where these are too large, those around what is
    wrong, whose own are always there.
    """
    with open(path, "w", encoding="utf-8", newline="\n") as target:
        _write(target, history, result, source, operations_max)


def _write(target: TextIO, history: History, result: Result, source: str, operations_max: int) -> None:
    headline = _HEADLINES[result.verdict]
    page = document.resource(__name__, "page.html")
    head, chunks_here, rest = page.partition("{{chunks}}")
    middle, data_here, tail = rest.partition("{{data}}")
    assert chunks_here, "page.html has a place for the operations"
    assert data_here, "page.html has a place for the data"
    fills = document.parts(__name__, "page.css", _SCRIPTS) | {
        "title": html.escape(f"{headline}: {source}" if source else headline),
        "colour": _COLOURS[result.verdict].replace("#", "%23"),
        "headline": html.escape(headline),
        "sentences": "\n".join(
            f"<li>{html.escape(f'{_name(each.key)}: {each.sentence}')}</li>"
            for each in _ranked(result)[:_SENTENCES_MAX]
            if each.sentence
        ),
    }
    target.write(document.filled(head, fills))
    chunks = Chunks(history, operations_max, len(result.violations))
    shown: list[tuple[KeyVerdict, Shown | None]] = []
    for verdict in _ranked(result)[:KEYS_MAX]:
        shown.append((verdict, chunks.add(verdict)))
        _write_chunks(target, chunks.take())
    chunks.finish()
    _write_chunks(target, chunks.take())
    target.write(document.filled(middle, fills))
    # "<" is all that HTML looks for inside of a script.
    data = json.dumps(_data(history, result, source, shown, chunks), separators=(",", ":"), allow_nan=False)
    target.write(data.replace("<", "\\u003c"))
    target.write(document.filled(tail, fills))


def _write_chunks(target: TextIO, encoded: list[bytes]) -> None:
    for chunk in encoded:
        target.write(f'<script type="text/plain" class="chunk">{chunk.decode("ascii")}</script>\n')


def _data(
    history: History,
    result: Result,
    source: str,
    shown: list[tuple[KeyVerdict, Shown | None]],
    chunks: Chunks,
) -> dict[str, Any]:
    """What data.js calls the report."""
    faults = sorted((fault for fault in history.faults if math.isfinite(fault.start)), key=lambda fault: fault.start)
    return {
        "source": source,
        "verdict": result.verdict.value,
        "operations": result.operations,
        "operations_shown": chunks.rows,
        "clients": result.clients,
        "keys_all": len(result.keys),
        "keys_wrong": len(result.violations),
        "keys_unknown": sum(each.verdict is Verdict.UNKNOWN for each in result.keys),
        "seconds": result.seconds,
        "outcomes": result.outcomes,
        "ways": result.ways,
        "time_unit": history.time_unit,
        "kinds": KINDS,
        "outcome_names": OUTCOMES,
        "client_names": chunks.clients,
        "faults": [_fault(fault) for fault in faults[:FAULTS_MAX]],
        "faults_all": len(faults),
        "keys": [_key(history, verdict, rows) for verdict, rows in shown],
    }


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "start": fault.start,
        "finish": fault.finish if fault.finish is not None and math.isfinite(fault.finish) else None,
        "node": None if fault.node is None else str(fault.node),
        "text": fault.text,
    }


def _key(history: History, verdict: KeyVerdict, rows: Shown | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": text_of(verdict.key, 1024),
        "verdict": verdict.verdict.value,
        "way": verdict.way.value,
        "why": verdict.why,
        "operations": verdict.operations,
    }
    if verdict.states:
        fields["states"] = verdict.states
    if verdict.sentence:
        fields["sentence"] = verdict.sentence
    initial, version = history.initial.get(verdict.key, (None, None))
    if initial is not None:
        fields["initial"] = quote(initial) + (f" at version {version}" if version else "")
    if rows is not None:
        fields |= {"chunk": rows.chunk, "offset": rows.offset, "rows": rows.count}
    if verdict.witness:
        places = [-1] * len(verdict.witness) if rows is None else rows.witness
        fields["witness"] = [
            {"row": place, "text": describe(operation, history.time_unit)}
            for operation, place in zip(verdict.witness, places, strict=True)
        ]
    return fields


def _ranked(result: Result) -> list[KeyVerdict]:
    """Those first that one looks for."""
    return sorted(result.keys, key=lambda each: _WORST_FIRST.index(each.verdict))


def _name(key: bytes) -> str:
    return quote(key) if key else "the only key"
