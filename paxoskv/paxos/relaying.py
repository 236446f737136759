"""Operations that are at another node, which holds their key; protocol.md section 3, "Relays, instead of duels"."""

from collections.abc import Callable
from typing import Final, Protocol

from paxoskv.core import operations
from paxoskv.core.operations import Operation, Result
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos import relays
from paxoskv.paxos.chain import IDLE, RELAYING, Chain, RelayJob
from paxoskv.paxos.context import Context
from paxoskv.paxos.evaluations import remember
from paxoskv.paxos.messages import RelayAnswer, RelayAnswers
from paxoskv.paxos.relays import RelayMail

# A relay answered by NotHolder is tried once more at the node that the answer names; then this node takes the key.
_ATTEMPTS_MAX: Final = 2
_CHECKS_MAX: Final = 16
_HINTS_MAX: Final = 10_000


class Chains(Protocol):
    """What becomes of a chain beside being relayed; the proposer."""

    counters: dict[str, int]

    def finish(self, answers: list[tuple[Operation, Result]], jobs: list[RelayJob]) -> None:
        """These are the results."""

    def go_on(self, chain: Chain) -> None:
        """Propose what waits, or close the chain."""

    def close(self, chain: Chain) -> None:
        """Nothing is left to do."""

    def back_off(self, chain: Chain) -> None:
        """Take the key, perhaps after a pause."""


class Relaying:
    """The chains whose operations were relayed, and what is known of relays that were given up."""

    def __init__(self, context: Context, mail: RelayMail, chains: Chains, read: Callable[[Operation], None]) -> None:
        self._context = context
        self._mail = mail
        self._chains = chains
        self._read = read
        self._relays: dict[int, Chain] = {}
        self._given_up: dict[int, tuple[int, list[Operation]]] = {}
        """Relays that are waited for no more, as far as their operations are unanswered: the ballot and the list."""
        self._hints: dict[bytes, float] = {}
        """Keys of which a relay was answered, and until when the next operations had better go the same way."""

    @property
    def numbers(self) -> list[int]:
        """Of all relays whose answers still mean something."""
        return [*self._relays, *self._given_up]

    def hinted_ballot(self, chain: Chain) -> int:
        """The ballot to relay to, since that was right a moment ago; 0 for none. A hint serves once."""
        hint = self._hints.pop(chain.key, 0.0) if self._hints else 0.0
        record = chain.record
        context = self._context
        if hint <= context.now or record is None:
            return 0
        return 0 if context.is_silent(ballots.node_of(record.promised)) else record.promised

    def relay(self, chain: Chain, ballot: int) -> None:
        """Send all unresolved operations on the key, ascending (B1), to the node that holds it at `ballot`."""
        context = self._context
        peer = ballots.node_of(ballot)
        pending = []
        for operation in chain.waiting:
            if operation.kind == operations.GET and not operation.done:
                self._read(operation)
            elif not operation.done:
                pending.append(operation)
        chain.waiting = []
        chain.unresolved = [operation for operation in chain.unresolved if not operation.done]
        if not pending and not chain.unresolved:
            self._chains.close(chain)
            return
        is_too_much = relays.is_too_much(chain.unresolved, context.value_bytes_max)
        if is_too_much or context.is_silent(peer):
            chain.waiting = pending
            if is_too_much:
                # A duel, then. Who has lost waits, or the other would never get through.
                chain.attempt = max(chain.attempt, 1)
            self._chains.back_off(chain)
            return
        # All that is in doubt goes; of what is new, as much as a frame holds. It waits for its own relay.
        taken = relays.fitting(chain.unresolved, pending)
        for operation in pending[:taken]:
            operation.number = context.next_operation()
            operation.exposed = ballot
            chain.unresolved.append(operation)
        chain.waiting = pending[taken:]
        number = context.next_batch()
        chain.phase = RELAYING
        chain.relay_ballot = ballot
        chain.relay_number = number
        chain.relay_checks = 0
        chain.wake = context.now + context.patience(context.timing.relay_s)
        self._relays[number] = chain
        self._chains.counters["relays_sent"] += 1
        self._mail.relay(peer, number, chain.key, ballot, chain.unresolved)

    def on_answers(self, sender: int, message: RelayAnswers) -> None:
        """Results of relayed operations, or NotHolder."""
        for answer in message.items:
            chain = self._relays.get(answer.number)
            if chain is None:
                self._remember_late(sender, answer)
            elif ballots.node_of(chain.relay_ballot) != sender:
                continue
            elif answer.promised:
                self._refused(chain, answer.promised)
                self._remember_late(sender, answer)
            else:
                self._answered(chain, answer)

    def _answered(self, chain: Chain, answer: RelayAnswer) -> None:
        answers = _pair(chain.unresolved, answer)
        self._chains.finish(answers, [])
        if answer.start + len(answers) < len(chain.unresolved):
            # The rest follows, in another frame if it is large. If the holder talks nonsense, it is waited for as if it
            # had not answered.
            return
        del self._relays[chain.relay_number]
        # Empty, unless a frame with an earlier part was lost.
        chain.unresolved = [operation for operation in chain.unresolved if not operation.done]
        chain.phase = IDLE
        chain.attempt = 0
        if len(self._hints) >= _HINTS_MAX:
            self._hints.pop(next(iter(self._hints)))
        self._hints[chain.key] = self._context.now + self._context.timing.hint_s
        self._chains.go_on(chain)

    def _refused(self, chain: Chain, promised: int) -> None:
        """No answer, or NotHolder: not definite, so the operations stay in doubt."""
        self._relays.pop(chain.relay_number, None)
        self._given_up[chain.relay_number] = (chain.relay_ballot, chain.unresolved[:])
        chain.round_seen = max(chain.round_seen, ballots.round_of(max(promised, chain.relay_ballot)))
        chain.phase = IDLE
        chain.attempt += 1
        holder = ballots.node_of(promised)
        if promised > chain.relay_ballot and holder != self._context.node and chain.attempt < _ATTEMPTS_MAX:
            self.relay(chain, promised)
            return
        self._chains.counters["takeovers"] += 1
        self._chains.back_off(chain)

    def _remember_late(self, sender: int, answer: RelayAnswer) -> None:
        """The key was lost there, or is wanted back already. What the evaluations at that ballot were is worth knowing
        all the same: if it turns out that this history goes through that ballot, they are the results."""
        ballot, operations_ = self._given_up.get(answer.number, (0, []))
        if ballots.node_of(ballot) != sender:
            return
        end = answer.start + len(answer.results)
        for operation, result in _pair(operations_, answer):
            remember(operation, ballot, result)
        if end >= len(operations_) or not answer.results:
            del self._given_up[answer.number]

    def overdue(self, chain: Chain) -> None:
        """No answer in good time. A holder that is alive is given more of it: taking the key from under it would leave
        what it is doing for us in doubt."""
        context = self._context
        chain.relay_checks += 1
        if context.is_silent(ballots.node_of(chain.relay_ballot)):
            chain.attempt = -1  # Nobody there to duel with, so there is no need to back off.
            self._refused(chain, 0)
        elif chain.relay_checks > _CHECKS_MAX:
            self._refused(chain, 0)
        else:
            chain.wake = context.now + context.patience(context.timing.relay_s)

    def peer_lost(self, peer: int) -> None:
        """What was on its way to or from that peer may be lost: do not wait for relays it had."""
        for chain in list(self._relays.values()):
            if ballots.node_of(chain.relay_ballot) == peer:
                self._refused(chain, 0)

    def drop(self, chain: Chain) -> None:
        """Nobody waits for the chain's relay any more."""
        self._relays.pop(chain.relay_number, None)

    def tick(self) -> None:
        """Forget what answers could tell nobody."""
        for number, (_, operations_) in list(self._given_up.items()):
            if all(operation.done for operation in operations_):
                del self._given_up[number]


def _pair(relayed: list[Operation], answer: RelayAnswer) -> list[tuple[Operation, Result]]:
    """The operations that a holder has answered, and how; up to the first answer that fits no operation of its kind."""
    found = []
    end = answer.start + len(answer.results)
    for operation, fields in zip(relayed[answer.start : end], answer.results, strict=False):
        result = Result(*fields)
        if not operations.is_answer(operation.kind, result):
            break
        found.append((operation, result))
    return found
