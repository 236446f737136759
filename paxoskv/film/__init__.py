"""Films: one HTML file that needs nothing else, in which a trace happens again, slowly.

The page is page.html with the style sheet and the scripts of this folder put into it, and with one reel or two
(`paxoskv.film.reel`), compressed. Nothing is fetched from anywhere, and the content security policy forbids that
anything were, or that a script ran which is not ours: what clients wrote into keys and values is data in every sense.
"""

import base64
import html
import json
import os
import zlib
from collections.abc import Sequence
from typing import Final

from paxoskv.check.report import document
from paxoskv.film.reel import Cut, Reel, make_reel

__all__ = ["Cut", "Reel", "make_reel", "write_html"]

REELS_MAX: Final = 2

_SCRIPTS: Final = (
    "text.js",
    "reel.js",
    "captions.js",
    "clock.js",
    "colours.js",
    "stage.js",
    "paint.js",
    "cards.js",
    "callers.js",
    "flights.js",
    "scrubber.js",
    "page.js",
    "hands.js",
    "start.js",
)


def write_html(path: str | os.PathLike[str], reels: Sequence[Reel]) -> None:
    """Write the film of one trace, or of two on one clock, to a file. Raises OSError."""
    assert 0 < len(reels) <= REELS_MAX
    data = json.dumps([reel.to_json() for reel in reels], separators=(",", ":"), ensure_ascii=False)
    fills = document.parts(__name__, "page.css", _SCRIPTS) | {
        "title": html.escape(title(reels)),
        "data": base64.b64encode(zlib.compress(data.encode("utf-8", "replace"), 6)).decode("ascii"),
    }
    page = document.filled(document.resource(__name__, "page.html"), fills)
    with open(path, "w", encoding="utf-8", newline="\n") as target:
        target.write(page)


def title(reels: Sequence[Reel]) -> str:
    """What the window says."""
    names = [reel.begin.get("title") or f"A cluster in {reel.begin['mode']} mode" for reel in reels]
    return " and ".join(dict.fromkeys(names)).encode("utf-8", "replace").decode("utf-8")
