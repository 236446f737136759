"""Engines broken on purpose: what cannot catch them proves nothing.

A canary replaces a piece of source text in one function, for as long as its context lasts. When the text is not there
any more, planting it fails loudly, so that a change of the engine cannot disarm it in silence.
"""

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Canary:
    """`where` is "module:function" or "module:Class.method"; `old` becomes `new` in its source."""

    name: str
    rule: str
    """The rule of docs/protocol.md that it breaks."""
    where: str
    old: str
    new: str
    also: tuple[str, ...] = ()
    """Modules that have imported the function by name."""

    def __str__(self) -> str:
        return self.name


@contextmanager
def planted(canary: Canary) -> Iterator[None]:
    """The engine is broken inside."""
    module_name, _, path = canary.where.partition(":")
    module = importlib.import_module(module_name)
    owner: Any = module
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = inspect.getattr_static(owner, name)
    function = original.fget if isinstance(original, property) else original
    source = textwrap.dedent(inspect.getsource(function)).replace("@property\n", "")
    assert source.count(canary.old) >= 1, f"{canary.name}: {canary.where} has no {canary.old!r} any more"
    names = dict(module.__dict__)
    exec(compile(source.replace(canary.old, canary.new), f"<canary {canary.name}>", "exec"), names)
    broken = property(names[name]) if isinstance(original, property) else names[name]
    owners = [owner, *[importlib.import_module(other) for other in canary.also]]
    for each in owners:
        setattr(each, name, broken)
    try:
        yield
    finally:
        for each in owners:
            setattr(each, name, original)


_ACCEPTOR = "paxoskv.paxos.acceptor:Acceptor."
_ENGINE = "paxoskv.paxos.engine:PaxosEngine."
_PROPOSER = "paxoskv.paxos.proposer:Proposer."
_RELAYING = "paxoskv.paxos.relaying:Relaying."
_INITIAL = "paxoskv.paxos.initial:InitialBallots."
_READER = "paxoskv.paxos.reader:Reader."
_CHAIN = "paxoskv.paxos.chain:"
_SCANNER = "paxoskv.paxos.scanner:Scanner."
_PAGES = "paxoskv.core.scan:LocalPages."

# What both engines' scans are made of.
SCANS_OF_BOTH = (
    Canary(
        "a scan is blind for what storage does not have",
        "section 4",
        _PAGES + "_begin",
        "records.order = KeyOrder(unsaved)",
        "records.order = KeyOrder(())",
    ),
    Canary(
        "a scan is blind for what is new since it began",
        "section 4",
        "paxoskv.core.scan:KeyOrder.add",
        "self._fresh.append(key)",
        "pass",
    ),
    Canary(
        "a scan takes from storage what has changed since it asked",
        "section 4",
        _PAGES + "advance",
        "blobs.pop(key, None)",
        "pass",
    ),
    Canary(
        "a page that was never answered is waited for",
        "liveness",
        "paxoskv.core.scan:Assembly._answered",
        "self._answer(self._operation, Result(result.status, result.value, 0))",
        "pass",
    ),
)

PAXOS = (
    Canary(
        "quorum of one",
        "section 1",
        "paxoskv.core.placement:EveryNode.__init__",
        "len(nodes) // 2 + 1",
        "1",
    ),
    Canary(
        "promise not persisted",
        "A1",
        _ENGINE + "recover",
        "acceptor.prepare(message.prepare_keys, message.prepare_ballots, message.prepare_known)",
        "pass",
    ),
    Canary(
        "acceptance acknowledged before its commit",
        "D1",
        _ENGINE + "_apply",
        "if wait <= acceptor.durable:",
        "if wait <= acceptor.durable or not message.prepare_keys:",
    ),
    Canary(
        "everything revealed before its commit", "D1", _ENGINE + "_apply", "if wait <= acceptor.durable:", "if True:"
    ),
    Canary(
        "own vote counted before its commit",
        "B10",
        _ENGINE + "_apply",
        "if wait <= acceptor.durable:",
        "if wait <= acceptor.durable or sender == self.node:",
    ),
    Canary(
        "duplicate acknowledged before the commit of the first",
        "B10",
        _ACCEPTOR + "accept",
        "if record.sequence > wait:",
        "if False:",
    ),
    Canary("reads see what is not on disk", "D1", _ACCEPTOR + "read", "if record.sequence <= durable:", "if True:"),
    Canary("promise check skipped on accept", "A1", _ACCEPTOR + "accept", "if ballot < record.promised:", "if False:"),
    Canary(
        "equal ballot promised",
        "B9",
        _ACCEPTOR + "prepare",
        "if ballot <= record.promised:",
        "if ballot < record.promised:",
    ),
    Canary(
        "accepted value ignored",
        "section 3",
        _PROPOSER + "on_promised",
        "if accepted > chain.base_version:",
        "if False:",
    ),
    Canary(
        "first accepted value instead of the highest",
        "section 3",
        _PROPOSER + "on_promised",
        "if accepted > chain.base_version:",
        "if accepted and not chain.base_version:",
    ),
    Canary(
        "read without finishing the write it saw",
        "section 4",
        _READER + "proceed",
        "if key_read.holders.bit_count() >= group.quorum:",
        "if True:",
    ),
    Canary(
        "read answered from the holder's memory",
        "section 4",
        _ENGINE + "submit",
        "if not self.proposer.joins(operation):",
        "from paxoskv.core.operations import Result\n"
        "                from paxoskv.paxos.register import decode\n"
        "                tail = decode(record.register) if record is not None and record.held else None\n"
        "                if tail is not None:\n"
        "                    context.answer(operation, Result(operations.OK, tail.value, tail.version, 0))\n"
        "                elif not self.proposer.joins(operation):",
    ),
    Canary(
        "journal replay that skips the last frame",
        "A1",
        _ENGINE + "recover",
        "for message in journal:",
        "for message in journal[:-1]:",
    ),
    Canary(
        "failed condition answered without a quorum",
        "B2",
        _PROPOSER + "_evaluate",
        "answers.append((operation, enter(chain, node, operation, limit, wall_ms)))",
        "answers.append((operation, enter(chain, node, operation, limit, wall_ms)))\n"
        "        if answers[-1][1].status:\n"
        "            context.answer(*answers[-1])",
    ),
    Canary(
        "failed condition leaves no trace",
        "B2",
        _CHAIN + "enter",
        "if evaluation.effect:",
        "if not evaluation.effect:\n"
        "        del tail.lineage[origin]\n"
        "        tail.lineage.update({origin: last} if last else {})\n"
        "    if evaluation.effect:",
        also=("paxoskv.paxos.proposer",),
    ),
    Canary(
        "no lineage",
        "section 5",
        _CHAIN + "enter",
        "if last is not None and number <= last[0]:",
        "if False:",
        also=("paxoskv.paxos.proposer",),
    ),
    Canary(
        "no lineage for relayed operations",
        "section 5",
        _CHAIN + "enter",
        "if last is not None and number <= last[0]:",
        "if last is not None and number <= last[0] and origin == ballots.node_of(chain.ballot):",
        also=("paxoskv.paxos.proposer",),
    ),
    Canary(
        "no lineage in a takeover",
        "section 5",
        _CHAIN + "enter",
        "if last is not None and number <= last[0]:",
        "if last is not None and number <= last[0] and origin != ballots.node_of(chain.ballot):",
        also=("paxoskv.paxos.proposer",),
    ),
    Canary(
        "relays carry the last operation alone",
        "B1",
        _RELAYING + "relay",
        "self._mail.relay(peer, number, chain.key, ballot, chain.unresolved)",
        "self._mail.relay(peer, number, chain.key, ballot, chain.unresolved[-1:])",
    ),
    Canary(
        "settled by promises",
        "B3",
        _PROPOSER + "_evaluate",
        "result = enter(chain, node, operation, limit, wall_ms)\n            answers.append((operation, result))",
        "step = chain.step\n"
        "            result = enter(chain, node, operation, limit, wall_ms)\n"
        "            answers.append((operation, result))\n"
        "            if chain.step == step:\n"
        "                self.finish(answers[-1:], [])",
    ),
    Canary(
        "relay answered from an unchosen tail",
        "B4",
        _PROPOSER + "_evaluate",
        "job.results = [enter(chain, job.origin, operation, limit, wall_ms) for operation in job.operations]",
        "job.results = [enter(chain, job.origin, operation, limit, wall_ms) for operation in job.operations]\n"
        "        for job in jobs:\n"
        "            self._mail.answer(job.origin, job.number, 0, job.results)",
    ),
    Canary(
        "a relay's late answer counts after a takeover",
        "B15",
        _RELAYING + "_refused",
        "self._relays.pop(chain.relay_number, None)",
        "pass",
    ),
    Canary(
        "results remembered from any ballot",
        "B5",
        "paxoskv.paxos.evaluations:recall",
        "evaluations.get(ballots.ballot_of(result.version))",
        "next((each for each in evaluations.values() if each.status != UNKNOWN), None)",
        also=("paxoskv.paxos.proposer",),
    ),
    Canary(
        "what was passed has the result of its last evaluation",
        "B5",
        "paxoskv.paxos.evaluations:remember",
        "known = operation.evaluations.get(ballot)",
        "known = operation.evaluations.get(ballot)\n"
        "    if result.status == UNKNOWN and operation.evaluations:\n"
        "        result = operation.evaluations[max(operation.evaluations)]",
        also=("paxoskv.paxos.proposer", "paxoskv.paxos.relaying"),
    ),
    Canary(
        "a relay's late results are taken for those of any later ballot",
        "B5",
        _RELAYING + "_remember_late",
        "remember(operation, ballot, result)",
        "remember(operation, ballot, result)\n"
        "        for chain in [self._chains.chains.get(operation.key)]:\n"
        "            remember(operation, chain.ballot if chain else 1, result)",
    ),
    Canary(
        "folds share a version",
        "B7",
        _PROPOSER + "_evaluate",
        "operation.exposed = ballot",
        "operation.exposed = ballot\n"
        "        if answers and answers[-1][1].version == chain.ballot << ballots.STEP_BITS | chain.step:\n"
        "            chain.step -= 1",
    ),
    Canary(
        "acknowledgement counted twice from one node",
        "section 3",
        _PROPOSER + "on_accepted",
        "if batch.acks & bit:",
        "if False:",
    ),
    Canary(
        "exceptions of a batch ignored",
        "section 3",
        _PROPOSER + "on_accepted",
        "self._refused(batch, refusal)",
        "pass",
    ),
    Canary(
        "steps of a chain reordered",
        "section 2",
        _ACCEPTOR + "accept",
        "if version <= record.accepted:",
        "if version == record.accepted:",
    ),
    Canary(
        "nobody wakes the chain that a promise completed",
        "liveness",
        _PROPOSER + "_hold",
        "if not chain.touched:",
        "if False:",
    ),
    Canary(
        "a first Accept leaves before the own commit",
        "B16",
        _PROPOSER + "_flush",
        "own_first = outbox.kind == OWN_FIRST",
        "own_first = False",
    ),
    Canary(
        "initial ballots are anybody's",
        "section 3",
        _INITIAL + "may_begin",
        "or context.placement.home(chain.key) != context.node",
        "",
    ),
    Canary(
        "an initial ballot begins twice",
        "section 3",
        _INITIAL + "may_begin",
        "or record.promised\n",
        "\n",
    ),
    Canary(
        "what was read as expired is deleted whatever stands",
        "B8",
        _READER + "_settle_expired",
        "self._settle(operation)",
        "operation.kind = operations.DELETE\n            self._settle(operation)",
    ),
    Canary(
        "expired by the reader's clock alone",
        "B8",
        _READER + "_answer",
        "if expires_at and expires_at <= self._context.wall_ms:",
        "if expires_at and expires_at <= self._context.wall_ms:\n"
        "        value, version, expires_at = None, 0, 0\n"
        "    if False:",
    ),
    Canary(
        "answers for a former incarnation reach the new one",
        "B9",
        _ENGINE + "peer_up",
        "self._held = deque(held for held in self._held if held[1] != peer)",
        "pass",
    ),
)

# Universes notice them; no transcript scans.
PAXOS_SCANS = (
    Canary(
        "a scan asks nobody",
        "section 4",
        _SCANNER + "_proceed",
        "len(scan.answers) < group.quorum",
        "len(scan.answers) < 1",
    ),
    Canary(
        "a scan shows what a minority has",
        "section 4",
        _SCANNER + "_proceed",
        "all([page.get(key, 0) == version for page in pages])",
        "True",
    ),
    Canary(
        "a scan goes on where the longest page ended",
        "section 4",
        _SCANNER + "_proceed",
        "min(ends, default=None)",
        "max(ends, default=None)",
    ),
    Canary(
        "a scan shows what is not on disk",
        "D1",
        _SCANNER + "_read",
        "[version], [register] = self._acceptor.read([key], use=False)",
        "version, register = resident[key].accepted, resident[key].register",
    ),
    *SCANS_OF_BOTH,
)

# A ballot has a million steps, which no universe takes. It may leave some out: here it leaps to its last ones after its
# first fold, which breaks nothing,
_HAS_STEPS = "if chain.step + wanted > ballots.STEP_MAX:"
_LEAP = "if 0 < chain.step < 1000:\n        chain.step = ballots.STEP_MAX - 63\n    "
LEAP = Canary("steps are left out", "none", _PROPOSER + "_takes_a_fold", _HAS_STEPS, _LEAP + _HAS_STEPS)
# as long as it is given up in time. No transcript does so, since each would cause something else.
PAXOS_STEPS = (
    Canary(
        "a fold takes more steps than its ballot has left",
        "A3",
        _PROPOSER + "_takes_a_fold",
        _HAS_STEPS,
        _LEAP + "if chain.step + 1 > ballots.STEP_MAX:",
    ),
)
