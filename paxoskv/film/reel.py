"""A trace made ready for the screen: cut to size, and told what no single event says.

- Answers name the key and the ballot that they are about; in a trace they only repeat their request's number.
- A state is shown twice: when it is in memory, and when the row that holds it is on the disk.
- `chosen`: a majority of disks holds what was accepted under one ballot.
- A crash takes back what was only in memory.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from paxoskv.trace.reading import Event

EVENTS_MAX: Final = 200_000
"""Events of one film. A browser still plays and steps through them smoothly."""
_TEXT_MAX: Final = 400
_OF_MAX: Final = 6
"""Keys of one acknowledgement that are named."""
_MESSAGES_MAX: Final = 40
"""Parts of one frame that are shown."""

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a trace is wanted. Times are seconds of the trace."""

    start: float | None = None
    end: float | None = None
    keys: frozenset[str] | None = None


@dataclass(slots=True)
class Reel:
    """One film's data."""

    begin: Event
    times: list[float] = field(default_factory=list)
    """When each event happened, in seconds from the origin."""
    events: list[list[Any]] = field(default_factory=list)
    """[name, field, ...]; the fields are listed in reel.js, which reads them."""
    messages: list[Message] = field(default_factory=list)
    """What frames say, each different one once."""
    keys: dict[str, int] = field(default_factory=dict)
    """How many events concern each key."""
    origin: float = 0.0
    """Which of the trace's own seconds is the film's zero."""
    left_out: str = ""
    """A sentence about what is not in the film."""

    def to_json(self) -> dict[str, Any]:
        """What reel.js unpacks."""
        begin = self.begin
        return {
            "title": begin.get("title", ""),
            "text": begin.get("text", ""),
            "mode": begin["mode"],
            "source": begin["source"],
            "seed": begin.get("seed"),
            "nodes": begin["nodes"],
            "keys": sorted(self.keys, key=lambda key: (-self.keys[key], key)),
            "origin": self.origin,
            "left_out": self.left_out,
            "times": self.times,
            "events": self.events,
            "messages": self.messages,
        }


def make_reel(events: Iterable[Event], cut: Cut | None = None, events_max: int = EVENTS_MAX) -> Reel:
    """The film of a trace. Where it has more than `events_max` events, the first ones; `left_out` says so."""
    iterator = iter(events)
    begin = next(iterator)
    cut = cut or Cut()
    reel = Reel(begin, origin=cut.start or 0.0)
    packer = _Packer(reel, cut)
    total = left_out = 0
    last = end = begin["t"]
    for event in iterator:
        total += 1
        last = max(last, float(event["t"]))
        # What must not happen has its place in every film.
        if len(reel.events) < events_max or event["e"] == "failure":
            packer.take(event)
            if event["e"] != "failure":
                end = event["t"]
        else:
            left_out += 1
    packer.finish()
    if left_out:
        reel.left_out = (
            f"The film shows {len(reel.events):,} events, up to {end:.6g} s of {last:.6g} s; {left_out:,} of the "
            f"trace's {total:,} are not in it. Cut it with --from, --to or --key to see others."
        )
    return reel


class _Packer:
    """Takes events in order and fills a reel."""

    def __init__(self, reel: Reel, cut: Cut) -> None:
        self._reel = reel
        self._cut = cut
        self._quorum = len(reel.begin["nodes"]) // 2 + 1
        self._now = 0.0
        self._silent = False
        """Before the cut: state is followed, nothing is shown."""
        self._known: dict[str, int] = {}
        self._asked: dict[tuple[int, str, int], list[Message]] = {}
        """What the requests of a node under a batch number were about."""
        self._frames: dict[int | str, int] = {}
        self._calls: set[int] = set()
        self._journaled: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._states: dict[tuple[int, str | None], list[Any]] = {}
        self._durable: dict[tuple[int, str | None], list[Any]] = {}
        self._waiting: dict[int, dict[str | None, int]] = {}
        """Of each node the keys whose state is not on its disk, and the row that holds it."""
        self._values: dict[tuple[str, str], Any] = {}
        self._chosen: dict[str, tuple[int, int, int]] = {}
        self._handlers: dict[str, Callable[[Event], None]] = {
            "start": self._start,
            "crash": self._crash,
            "send": self._send,
            "receive": self._receive,
            "drop": self._drop,
            "journal": self._journal,
            "commit": self._commit,
            "state": self._state,
            "call": self._call,
            "return": self._return,
        }

    def take(self, event: Event) -> None:
        """One event."""
        cut = self._cut
        # Time does not go back, whatever a trace says.
        self._now = max(self._now, float(event["t"]))
        if cut.end is not None and self._now > cut.end and event["e"] != "failure":
            return
        was_silent = self._silent
        self._silent = cut.start is not None and self._now < cut.start
        if was_silent and not self._silent:
            self._catch_up()
        handler = self._handlers.get(event["e"])
        if handler is not None:
            handler(event)
        elif event["e"] in ("fault", "heal"):
            self._put(event["e"], event["kind"], event.get("node"), event.get("peer"), event.get("text"))
        elif event["e"] == "failure":
            proof = event.get("calls")
            numbers = [each for each in proof if isinstance(each, int)] if isinstance(proof, list) else []
            self._put("failure", event["kind"], _cut(event["message"], 2000), numbers)
        elif event["e"] in ("pause", "resume"):
            self._put("fault" if event["e"] == "pause" else "heal", "pause", event["node"], None, None)

    def finish(self) -> None:
        """There is no more."""
        self._silent = True

    def _catch_up(self) -> None:
        """Show what there was when the cut begins."""
        for (node, key), state in self._states.items():
            self._show_state(node, key, state, key not in self._waiting.get(node, {}))

    def _put(self, name: str, *fields: Any) -> None:
        if self._silent:
            return
        reel = self._reel
        reel.times.append(round(max(0.0, self._now - reel.origin), 9))
        reel.events.append([name, *fields])

    def _wanted(self, key: str | None) -> bool:
        keys = self._cut.keys
        return keys is None or key is None or key in keys

    def _count(self, key: str) -> None:
        if not self._silent:
            self._reel.keys[key] = self._reel.keys.get(key, 0) + 1

    # Nodes.

    def _start(self, event: Event) -> None:
        node = event["node"]
        self._journaled[node] = self._committed[node] = 0
        self._put("start", node, event["incarnation"])

    def _crash(self, event: Event) -> None:
        node = event["node"]
        self._put("crash", node)
        self._journaled[node] = self._committed[node] = 0
        for key in self._waiting.pop(node, {}):
            state = self._states[node, key] = self._durable.get((node, key), [None] * len(self._states[node, key]))
            self._show_state(node, key, state, True)

    def _journal(self, event: Event) -> None:
        self._journaled[event["node"]] = event["sequence"]
        self._put("journal", event["node"], event["sequence"], event["bytes"])

    def _commit(self, event: Event) -> None:
        node, sequence = event["node"], event["sequence"]
        self._committed[node] = sequence
        self._put("commit", node, sequence)
        waiting = self._waiting.get(node, {})
        for key in [key for key, row in waiting.items() if row <= sequence]:
            del waiting[key]
            self._on_disk(node, key)

    def _state(self, event: Event) -> None:
        node, key = event["node"], event.get("key")
        if not self._wanted(key):
            return
        if key is not None:
            self._count(key)
            if "promised" in event:
                value = _cut(event.get("value"))
                state = [event["promised"], event.get("accepted", "-"), value]
                self._values[key, state[1]] = value
            else:
                # What a log's entries made of a key was on a majority of disks before.
                state = ["-", str(event.get("version", "-")), _cut(event.get("value"))]
                self._states[node, key] = state
                self._on_disk(node, key)
                return
        else:
            state = [event.get(name) for name in ("role", "term", "leader", "last", "committed", "applied")]
        self._states[node, key] = state
        row = self._journaled.get(node, 0)
        if row > self._committed.get(node, 0):
            self._waiting.setdefault(node, {})[key] = row
            self._show_state(node, key, state, False)
        else:
            self._on_disk(node, key)

    def _on_disk(self, node: int, key: str | None) -> None:
        state = self._durable[node, key] = self._states[node, key]
        self._show_state(node, key, state, True)
        if key is not None and state[0] != "-":
            self._choose(key, str(state[1]))

    def _show_state(self, node: int, key: str | None, state: Sequence[Any], durable: bool) -> None:
        self._put("state" if key is not None else "node", node, *([] if key is None else [key]), *state, int(durable))

    def _choose(self, key: str, accepted: str) -> None:
        """A majority has accepted a step of one ballot: so it has the lowest of theirs, at least."""
        version = _version(accepted)
        if version is None:
            return
        steps = []
        for node in self._reel.begin["nodes"]:
            held = _version(str(self._durable.get((node, key), ("", "-"))[1]))
            if held is not None and held[:2] == version[:2]:
                steps.append((held[2], node))
        if len(steps) < self._quorum:
            return
        steps.sort(reverse=True)
        step = steps[self._quorum - 1][0]
        chosen = (version[0], version[1], step)
        if chosen > self._chosen.get(key, (0, 0, 0)):
            self._chosen[key] = chosen
            name = f"{version[0]}.{version[1]}/{step}"
            holders = sorted(node for held_step, node in steps if held_step >= step)
            self._put("chosen", key, name, self._values.get((key, name)), holders)

    # Frames.

    def _send(self, event: Event) -> None:
        source, target = event["source"], event["target"]
        said: list[int] = []
        concerns = self._cut.keys is None
        parts = event["messages"]
        for part in parts[:_MESSAGES_MAX]:
            if not isinstance(part, dict) or not isinstance(part.get("kind"), str):
                continue
            message = self._resolved(part, source, target)
            keys = _keys_of(message)
            if self._cut.keys is not None:
                if not (self._cut.keys & keys) and keys:
                    continue
                concerns = concerns or bool(keys)
            for key in keys:
                self._count(key)
            said.append(self._intern(message))
        if len(parts) > _MESSAGES_MAX:
            said.append(self._intern({"kind": "more", "count": len(parts) - _MESSAGES_MAX}))
        if not self._silent and (concerns or (said and self._reel.begin["mode"] != "paxos")):
            number = self._frames[event["frame"]] = len(self._frames)
            self._put("send", number, source, target, event.get("bytes", 0), said)

    def _receive(self, event: Event) -> None:
        number = self._frames.get(event["frame"])
        if number is not None:
            self._put("receive", number)

    def _drop(self, event: Event) -> None:
        number = self._frames.get(event["frame"])
        if number is not None:
            self._put("drop", number, event["reason"])

    def _resolved(self, part: Message, source: int, target: int) -> Message:
        """A message, its values cut, and an answer with what it answers."""
        message = {name: _cut(value) for name, value in part.items()}
        kind, batch = message["kind"], message.get("batch")
        if batch is None:
            return message
        family = _FAMILY.get(kind)
        if kind in _ASKS:
            self._asked.setdefault((source, _ASKS[kind], batch), [])
            asked = self._asked[source, _ASKS[kind], batch]
            # The same request goes to several peers.
            if not any(each is not message and each == message for each in asked):
                asked.append(message)
        elif family is not None:
            requests = self._asked.get((target, family, batch), [])
            index = message.get("index")
            wanted = _ANSWERED.get(kind)
            about = [each for each in requests if wanted is None or each["kind"] == wanted]
            if kind == "Refused":
                about = [each for each in requests if each.get("key") == message.get("key")]
            elif index is not None:
                about = about[index : index + 1]
            if len(about) == 1:
                for name in ("key", "ballot"):
                    if name in about[0]:
                        message.setdefault(name, about[0][name])
            elif about:
                message["of"] = [
                    {name: each[name] for name in ("key", "ballot") if name in each} for each in about[:_OF_MAX]
                ]
                message["count"] = len(about)
        return message

    def _intern(self, message: Message) -> int:
        text = json.dumps(message, sort_keys=True)
        number = self._known.get(text)
        if number is None:
            number = self._known[text] = len(self._reel.messages)
            self._reel.messages.append(message)
        return number

    # Clients.

    def _call(self, event: Event) -> None:
        key = event["key"]
        if self._silent or not self._wanted(key):
            return
        self._count(key)
        self._calls.add(event["call"])
        argument, condition = _cut(event.get("argument")), _cut(event.get("condition"))
        self._put("call", event["call"], event["client"], event["node"], event["kind"], key, argument, condition)

    def _return(self, event: Event) -> None:
        if event["call"] in self._calls:
            fields = (event["outcome"], event.get("status"), _cut(event.get("value")), event.get("version"))
            self._put("return", event["call"], *fields)


# Whose numbers an answer repeats: those of proposals, reads, fetches and relays are apart.
_ASKS: Final = {
    "Prepare": "proposals",
    "Accept": "proposals",
    "Read": "reads",
    "Fetch": "fetches",
    "Relay": "relays",
    "Pages": "pages",
}
_FAMILY: Final = {
    "Promised": "proposals",
    "Accepted": "proposals",
    "Refused": "proposals",
    "Version": "reads",
    "Register": "fetches",
    "RelayAnswer": "relays",
    "NotHolder": "relays",
    "Page": "pages",
}
_ANSWERED: Final = {"Promised": "Prepare", "Accepted": "Accept"}


def _keys_of(message: Message) -> set[str]:
    keys = {message["key"]} if isinstance(message.get("key"), str) else set()
    for part in message.get("of", ()):
        keys.add(part.get("key", ""))
    for entry in message.get("entries", ()):
        keys.update(entry.get("keys", ()))
    if isinstance(message.get("keys"), list):
        keys.update(key for key in message["keys"] if isinstance(key, str))
    return keys


def _version(text: str) -> tuple[int, int, int] | None:
    """`3.1/2` as (3, 1, 2); None for anything else."""
    ballot, _, step = text.partition("/")
    round_, _, node = ballot.partition(".")
    try:
        return int(round_), int(node), int(step)
    except ValueError:
        return None


def _cut(value: Any, length: int = _TEXT_MAX) -> Any:
    """Text that is not longer than one wants to read."""
    if isinstance(value, str) and len(value) > length:
        return f"{value[:length]}... ({len(value):,} characters)"
    return value
