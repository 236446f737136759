"""Messages and records in the words of the papers, for traces that people read. Nothing depends on it but those."""

from collections.abc import Iterator
from typing import Any

from paxoskv.core.operations import KIND_NAMES
from paxoskv.core.text import text, words
from paxoskv.paxos import messages, register
from paxoskv.paxos.ballot import show_ballot, show_version
from paxoskv.paxos.engine import PaxosEngine
from paxoskv.paxos.messages import Message, Refusal
from paxoskv.paxos.records import Record

Description = dict[str, Any]


def message(said: Message) -> list[Description]:
    """What a message says, an entry for each key where it says it by key. `batch` pairs answers with requests."""
    if isinstance(said, messages.Proposals):
        prepares = zip(said.prepare_keys, said.prepare_ballots, strict=True)
        accepts = zip(said.accept_keys, said.accept_versions, said.accept_registers, strict=True)
        return [
            {"kind": "Prepare", "batch": said.number, "key": text(key), "ballot": show_ballot(ballot)}
            for key, ballot in prepares
        ] + [
            {
                "kind": "Accept",
                "batch": said.number,
                "key": text(key),
                "ballot": show_version(version),
                "value": _value(encoded),
            }
            for key, version, encoded in accepts
        ]
    if isinstance(said, messages.Promised):
        return [
            {
                "kind": "Promised",
                "batch": said.number,
                "index": said.start + index,
                "accepted": show_version(accepted),
                **({} if encoded is None else {"value": _value(encoded)}),
            }
            for index, (accepted, encoded) in enumerate(zip(said.accepted, said.registers, strict=True))
            if accepted or not said.exceptions
        ] + [_refusal(said.number, refusal) for refusal in said.exceptions]
    if isinstance(said, messages.Accepted):
        head: Description = {"kind": "Accepted", "batch": said.number}
        return [head, *[_refusal(said.number, refusal) for refusal in said.exceptions]]
    if isinstance(said, messages.Refused):
        return [_refusal(said.number, refusal) for refusal in said.exceptions]
    if isinstance(said, messages.Reads):
        return [{"kind": "Read", "batch": said.number, "key": text(key)} for key in said.keys]
    if isinstance(said, messages.Versions):
        return [
            {"kind": "Version", "batch": said.number, "index": index, "accepted": show_version(version)}
            for index, version in enumerate(said.versions)
        ]
    if isinstance(said, messages.Fetches):
        return [{"kind": "Fetch", "batch": fetch.number, "key": text(fetch.key)} for fetch in said.items]
    if isinstance(said, messages.Registers):
        return [
            {
                "kind": "Register",
                "batch": fetched.number,
                "accepted": show_version(fetched.version),
                "value": _value(fetched.register),
            }
            for fetched in said.items
        ]
    if isinstance(said, messages.Relays):
        return [
            {
                "kind": "Relay",
                "batch": item.number,
                "key": text(item.key),
                "ballot": show_ballot(item.ballot),
                "operations": [words(KIND_NAMES[relayed.kind], relayed.argument) for relayed in item.operations],
            }
            for item in said.items
        ]
    if isinstance(said, messages.Pages):
        return [{"kind": "Pages", "batch": said.number, "start": text(said.start)}]
    if isinstance(said, messages.Page):
        held = [f"{text(key)}@{show_version(version)}" for key, version in zip(said.keys, said.versions, strict=True)]
        return [{"kind": "Page", "batch": said.number, "keys": held}]
    return [
        {
            "kind": "NotHolder" if answer.promised else "RelayAnswer",
            "batch": answer.number,
            **({"promised": show_ballot(answer.promised)} if answer.promised else {}),
            "results": [words(str(status), value) for status, value, *_ in answer.results],
        }
        for answer in said.items
    ]


def record(of: Record) -> Description:
    """What an acceptor has promised and accepted for a key."""
    return {
        "promised": show_ballot(of.promised),
        "accepted": show_version(of.accepted),
        "value": _value(of.register),
    }


def held(engine: PaxosEngine, key: bytes) -> Description:
    """What a node has promised and accepted for a key; nothing if that is not in memory."""
    found = engine.records.resident.get(key)
    return {} if found is None else record(found)


def keys(said: Message) -> Iterator[bytes]:
    """The keys that a message names."""
    if isinstance(said, messages.Proposals):
        yield from said.prepare_keys
        yield from said.accept_keys
    elif isinstance(said, messages.Reads):
        yield from said.keys
    elif isinstance(said, messages.Fetches | messages.Relays):
        for item in said.items:
            yield item.key


def _refusal(number: int, refusal: Refusal) -> Description:
    return {
        "kind": "Refused",
        "batch": number,
        "key": text(refusal.key),
        "promised": show_ballot(refusal.promised),
    }


def _value(encoded: bytes) -> str | None:
    value, _, _ = register.user_view(encoded)
    return None if value is None else text(value)
