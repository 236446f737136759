"""Takes a report apart again, with nothing of the code that wrote it."""

import base64
import json
import struct
import zlib
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from paxoskv.check.history import Operation

_FLOATS = ("starts", "finishes", "numbers", "versions")
_INDICES = ("clients", "arguments", "conditions", "results")


@dataclass
class Element:
    """An element of the page, with the text right inside of it."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].text += data


@dataclass
class Report:
    """What is in the file."""

    elements: list[Element]
    data: dict[str, Any]
    chunks: list[dict[str, Any]] = field(default_factory=list)

    def rows(self, key: dict[str, Any]) -> list[dict[str, Any]]:
        """The operations of a key, one dictionary each."""
        if "chunk" not in key:
            return []
        chunk = self.chunks[key["chunk"]]
        texts = chunk["texts"]
        rows = []
        for at in range(key["offset"], key["offset"] + key["rows"]):
            row = {name: chunk[name][at] for name in (*_FLOATS, *_INDICES, "kinds", "outcomes")}
            rows.append(
                {
                    "number": row["numbers"],
                    "client": self.data["client_names"][row["clients"]],
                    "kind": self.data["kinds"][row["kinds"]],
                    "outcome": self.data["outcome_names"][row["outcomes"]],
                    "start": row["starts"],
                    "finish": None if row["finishes"] == float("inf") else row["finishes"],
                    "argument": texts[row["arguments"]],
                    "condition": texts[row["conditions"]],
                    "result": texts[row["results"]],
                    "version": None if row["versions"] < 0 else row["versions"],
                }
            )
        return rows


def as_row(operation: Operation) -> dict[str, Any]:
    """An operation with short values of text, as a report has it."""

    def text(value: object) -> object:
        return value.decode() if isinstance(value, bytes) else value

    return {
        "number": operation.number,
        "client": str(operation.client),
        "kind": operation.kind,
        "outcome": operation.outcome,
        "start": operation.start,
        "finish": operation.finish,
        "argument": text(operation.argument),
        "condition": text(operation.condition),
        "result": text(operation.result),
        "version": operation.version,
    }


def read(path: Path) -> Report:
    """A report from a file."""
    parser = _Parser()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    elements = parser.elements
    (data,) = [each for each in elements if each.attributes.get("id") == "report"]
    chunks = [_unpacked(each.text) for each in elements if each.attributes.get("class") == "chunk"]
    return Report(elements, json.loads(data.text), chunks)


def _unpacked(text: str) -> dict[str, Any]:
    data = zlib.decompress(base64.b64decode(text))
    (count,) = struct.unpack_from("<I", data)
    at = 4
    chunk: dict[str, Any] = {}
    for names, size, code in ((_FLOATS, 8, "d"), (_INDICES, 4, "I")):
        for name in names:
            shuffled = data[at : at + size * count]
            plain = b"".join(shuffled[index::count] for index in range(count)) if count else b""
            chunk[name] = struct.unpack(f"<{count}{code}", plain)
            at += size * count
    chunk["kinds"] = data[at : at + count]
    chunk["outcomes"] = data[at + count : at + 2 * count]
    chunk["texts"] = json.loads(data[at + 2 * count :])
    return chunk
