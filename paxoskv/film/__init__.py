"""Films: one HTML file that needs nothing else, in which a trace happens again, slowly.

The page is page.html with the style sheet and the scripts of this folder put into it, and with one reel or two
(`paxoskv.film.reel`), compressed. Nothing is fetched from anywhere, and the content security policy forbids that
anything were, or that a script ran which is not ours: what clients wrote into keys and values is data in every sense.
"""

import base64
import hashlib
import html
import json
import os
import zlib
from collections.abc import Sequence
from importlib import resources
from typing import Final

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
    "scrubber.js",
    "page.js",
    "hands.js",
    "start.js",
)


def write_html(path: str | os.PathLike[str], reels: Sequence[Reel]) -> None:
    """Write the film of one trace, or of two on one clock, to a file. Raises OSError."""
    assert 0 < len(reels) <= REELS_MAX
    style = _resource("page.css")
    script = '"use strict";\n' + "".join(map(_resource, _SCRIPTS))
    data = json.dumps([reel.to_json() for reel in reels], separators=(",", ":"), ensure_ascii=False)
    fills = {
        "policy": (
            f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
            f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
        ),
        "title": html.escape(title(reels)),
        "style": style,
        "script": script,
        "data": base64.b64encode(zlib.compress(data.encode("utf-8", "replace"), 6)).decode("ascii"),
    }
    page = _filled(_resource("page.html"), fills)
    with open(path, "w", encoding="utf-8", newline="\n") as target:
        target.write(page)


def title(reels: Sequence[Reel]) -> str:
    """What the window says."""
    names = [reel.begin.get("title") or f"A cluster in {reel.begin['mode']} mode" for reel in reels]
    return " and ".join(dict.fromkeys(names)).encode("utf-8", "replace").decode("utf-8")


def _resource(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _filled(template: str, fills: dict[str, str]) -> str:
    parts = template.split("{{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}}")
        filled += [fills[name], rest]
    return "".join(filled)
