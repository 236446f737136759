"""The proposer: chains of steps, folds, relays instead of duels, at most once. protocol.md sections 3 and 5.

One turn's proposals leave as one batch for each set of replicas, the same message for all of them. A batch is
acknowledged by its number, so that the work for a second and third acknowledgement does not depend on how many keys
it carries; exceptions name their keys. A batch is kept until every replica has it, or `repair` takes over.
"""

from collections.abc import Callable, Iterable
from typing import Any

from paxoskv.core import errors, operations
from paxoskv.core.operations import Operation, Result
from paxoskv.core.placement import ReplicaSet
from paxoskv.paxos import ballot as ballots
from paxoskv.paxos import register as registers
from paxoskv.paxos.batch import AT_ONCE, OWN_FIRST, UNREAD, Batch, Outbox
from paxoskv.paxos.chain import (
    BACKING_OFF,
    HOLDING,
    IDLE,
    PREPARING,
    RELAYING,
    UNKNOWN,
    Chain,
    Flight,
    RelayJob,
    enter,
    lapse,
)
from paxoskv.paxos.context import Context
from paxoskv.paxos.evaluations import recall, remember
from paxoskv.paxos.initial import InitialBallots
from paxoskv.paxos.messages import (
    Accepted,
    Promised,
    Proposals,
    Refusal,
    Refused,
    Relays,
)
from paxoskv.paxos.records import Record, Records
from paxoskv.paxos.relaying import Relaying
from paxoskv.paxos.relays import RelayMail

# Steps of one chain that are not chosen yet.
_FLIGHTS_MAX = 8
# Bytes of registers in one batch, so that a frame stays below its limit; what is over goes with the next.
_BATCH_BYTES_MAX = 512 * 1024
# And in one turn, whose votes are one row of the journal; what is over waits for the next turn.
_TURN_BYTES_MAX = 32 * 1024 * 1024


class Proposer:
    """All keys that this node coordinates."""

    def __init__(
        self,
        context: Context,
        records: Records,
        vote: Callable[[Proposals], None],
        read: Callable[[Operation], None],
        behind: Callable[[int, Iterable[Flight]], None],
    ) -> None:
        """`vote` hands a batch to the own acceptor, `read` a get to the reader, `behind` chosen steps that a replica
        did not acknowledge to repair."""
        self._context = context
        self._records = records
        self._vote = vote
        self._read = read
        self._behind = behind
        self.voting = True
        """False while the own acceptor takes nothing, because its disk hangs."""
        self.chains: dict[bytes, Chain] = {}
        self._touched: list[Chain] = []
        self._postponed: list[Chain] = []
        """Touched in this turn, and left to the next."""
        self._turn_bytes = 0
        self._outboxes: dict[tuple[ReplicaSet, int], Outbox] = {}
        self._outbox_used: Outbox | None = None
        """The one that the last chain went into; the next one mostly does, too."""
        self._batches: dict[int, Batch] = {}
        self._mail = RelayMail(context)
        self.relaying = Relaying(context, self._mail, self, read)
        self.initial = InitialBallots(context)
        self._round_min = 0
        """The highest round of a ballot that was given up without a trace in the own records; never used again."""
        self._soonest = float("inf")
        """When the first pause of a chain that backs off ends."""
        self.counters = dict.fromkeys(
            (
                "initial_ballots",
                "initial_ballots_given_up",
                "proposed_steps",
                "folded_operations",
                "prepares",
                "prepare_retries",
                "preemptions",
                "relays_sent",
                "relays_taken",
                "relays_refused",
                "takeovers",
                "resends",
                "unknown_outcomes",
                "timeouts",
            ),
            0,
        )

    # What comes in.

    def submit(self, operation: Operation, record: Record | None) -> None:
        """Take a mutation, or a read that has to be settled by a step. `record` is None when it cannot be read."""
        chain = self.chains.get(operation.key)
        if chain is None:
            chain = self._open(operation.key, record)
        chain.waiting.append(operation)
        if operation.deadline < chain.deadline:
            chain.deadline = operation.deadline
        if operation.kind == operations.GET:
            chain.identity_wanted = True
        if not chain.touched:
            self._touch(chain)

    def joins(self, operation: Operation) -> bool:
        """Let a get go along with a step that is not sent yet (protocol.md section 4, last sentence)."""
        chain = self.chains.get(operation.key)
        if chain is None or chain.phase != HOLDING or not chain.waiting:
            return False
        chain.waiting.append(operation)
        if operation.deadline < chain.deadline:
            chain.deadline = operation.deadline
        return True

    def on_relays(self, sender: int, message: Relays) -> None:
        """Take another node's operations, for keys that are held, or being prepared, at exactly its ballot."""
        for item in message.items:
            chain = self.chains.get(item.key)
            if chain is None:
                record = self._records.resident.get(item.key)
                if (
                    record is not None
                    and record.held
                    and ballots.ballot_of(record.accepted) == record.promised == item.ballot
                ):
                    chain = self._open(item.key, record)
            if chain is None or chain.ballot != item.ballot or chain.phase not in (PREPARING, HOLDING):
                self.counters["relays_refused"] += 1
                record = self._records.resident.get(item.key)
                # At least the relay's own ballot, so never 0, which would say that the list was taken. The own record
                # can be that empty, when the promise of that ballot was lost in a crash.
                promised = max(item.ballot, record.promised if record else 0, chain.ballot if chain else 0)
                self._mail.answer(sender, item.number, promised, ())
                continue
            relayed = []
            for entry in item.operations:
                operation = Operation(entry.kind, item.key, entry.argument, entry.condition, expiry=entry.expiry)
                operation.number = entry.number
                operation.exposed = entry.exposed
                relayed.append(operation)
            self.counters["relays_taken"] += 1
            chain.relayed.append(RelayJob(sender, item.number, relayed))
            if not chain.touched:
                self._touch(chain)

    def on_accepted(self, sender: int, message: Accepted) -> bool:
        """Count a replica's acknowledgement. False when the number is not one of ours."""
        batch = self._batches.get(message.number)
        if batch is None:
            return False
        bit = 1 << sender
        if batch.acks & bit:
            return True
        if batch.unsent is not None and sender != self._context.node:
            return True  # Nobody else has it.
        for refusal in message.exceptions:
            self._refused(batch, refusal)
        batch.acks |= bit
        batch.acks_count += 1
        if batch.unsent is not None and not self._own_disk_has(batch, batch.unsent):
            return True
        if batch.acks_count == batch.group.quorum:
            self._context.measured(batch.sent_at)
            for flight in batch.flights:
                if flight.chain is not None:
                    self._chosen(flight.chain, flight)
        if batch.acks_count == len(batch.group.nodes):
            del self._batches[batch.number]
        return True

    def on_promised(self, sender: int, message: Promised) -> None:
        """Count a replica's promises."""
        batch = self._batches.get(message.number)
        if batch is None:
            return
        end = message.start + len(message.accepted)
        refused = {refusal.key for refusal in message.exceptions}
        bit = 1 << sender
        for (chain, ballot), accepted, register in zip(
            batch.preparing[message.start : end], message.accepted, message.registers, strict=False
        ):
            if chain.ballot != ballot or chain.phase != PREPARING or chain.key in refused:
                continue
            if chain.promises & bit:
                continue
            chain.promises |= bit
            if message.floor > chain.floor:
                chain.floor = message.floor
            if accepted > chain.base_version:
                chain.base_version = accepted
                chain.base_register = chain.known_register if register is None else register
            if chain.promises.bit_count() == chain.group.quorum:
                self._hold(chain)
        for refusal in message.exceptions:
            self._refused(batch, refusal)
        if not batch.flights and end >= len(batch.preparing):
            # Prepares alone: no Accepted will follow.
            batch.acks |= bit
            if batch.acks.bit_count() == len(batch.group.nodes):
                del self._batches[batch.number]

    def on_refused(self, message: Refused) -> None:
        """Refusals ahead of the batch's acknowledgement."""
        batch = self._batches.get(message.number)
        if batch is not None:
            for refusal in message.exceptions:
                self._refused(batch, refusal)

    def peer_restarted(self, peer: int) -> None:
        """Its former incarnation's relays are nobody's any more, and those it had are lost."""
        self._mail.forget(peer)
        for chain in self.chains.values():
            chain.relayed = [job for job in chain.relayed if job.origin != peer]
            for flight in chain.flights:
                flight.jobs = [job for job in flight.jobs if job.origin != peer]
        self.relaying.peer_lost(peer)

    def peer_returned(self, peer: int) -> None:
        """Send it unchosen steps again, now."""
        for batch in self._batches.values():
            if not batch.acks >> peer & 1 and batch.unsent is None:
                batch.wake = self._context.now

    # The life of a chain.

    def _open(self, key: bytes, record: Record | None) -> Chain:
        group = self._context.placement.replicas(key)
        chain = Chain(key, group, record)
        self.chains[key] = chain
        if record is not None:
            record.busy = True
            if record.held:
                # All of it is chosen, and the own record is the tail: go on where the last chain ended.
                record.held = False
                chain.phase = HOLDING
                chain.ballot = record.promised
                chain.step = record.accepted & ballots.STEP_MAX
                chain.base_register = record.register
        return chain

    def _touch(self, chain: Chain) -> None:
        chain.touched = True
        self._touched.append(chain)

    def go_on(self, chain: Chain) -> None:
        """Nothing is in flight: propose what waits, or close the chain."""
        if chain.is_quiet():
            self.close(chain)
        elif not chain.touched:
            self._touch(chain)

    def close(self, chain: Chain) -> None:
        """Nothing is in flight any more. Remember that the key is held if the own record can stand for the chain."""
        del self.chains[chain.key]
        record = chain.record
        if record is not None:
            record.busy = False
            if (
                chain.phase == HOLDING
                and chain.step
                and record.promised == chain.ballot
                and record.accepted == chain.ballot << ballots.STEP_BITS | chain.step
            ):
                record.held = True
                return
        self._abandon(chain)

    def _abandon(self, chain: Chain) -> None:
        """The chain's ballot is given up; see that no later chain uses it again."""
        round_ = ballots.round_of(chain.ballot)
        chain.round_seen = max(chain.round_seen, round_)
        if chain.record is None or ballots.round_of(chain.record.promised) < round_:
            self._round_min = max(self._round_min, round_)

    @property
    def busy(self) -> bool:
        """`advance` has something to do."""
        return bool(self._touched or self._outboxes)

    def end_turn(self) -> None:
        """What follows is the next turn."""
        self._turn_bytes = 0
        if self._postponed:
            self._touched += self._postponed
            self._postponed = []

    def advance(self) -> None:
        """End of the turn: every chain that something happened to proposes what it can, in one batch for all."""
        # Own votes can refuse, and lose a chain that then relays or prepares: a second pass sees to that.
        while self.busy:
            touched = self._touched
            self._touched = []
            for chain in touched:
                if self._turn_bytes > _TURN_BYTES_MAX:
                    self._postponed.append(chain)
                    continue
                chain.touched = False
                if self.chains.get(chain.key) is not chain:
                    continue
                if chain.phase == HOLDING:
                    self._fold(chain)
                elif chain.phase == IDLE:
                    self._want(chain)
            self._flush()

    def _want(self, chain: Chain) -> None:
        """An idle chain with operations: relay them where that was right a moment ago, else take the key."""
        if chain.is_quiet():
            self.close(chain)
            return
        if ballot := self.relaying.hinted_ballot(chain):
            self.relaying.relay(chain, ballot)
        elif self.voting and not chain.identity_wanted and self.initial.may_begin(chain):
            self._begin(chain)
        else:
            self._prepare(chain)

    def _begin(self, chain: Chain) -> None:
        """Hold the key at its initial ballot."""
        self.counters["initial_ballots"] += 1
        chain.phase = HOLDING
        chain.ballot = ballots.initial_ballot(self._context.node)
        chain.tail = registers.decode(registers.EMPTY)
        chain.own_first = True
        self._fold(chain)

    def _own_disk_has(self, batch: Batch, message: Proposals) -> bool:
        """The own vote on these first Accepts is on disk. Now the others get them; False if none is wanted any more."""
        context = self._context
        batch.unsent = None
        # Without those of keys that were lost meanwhile, or are now: the own acceptor has promised them to others.
        count = len(batch.flights)
        for flight in batch.flights:
            chain = flight.chain
            if chain is not None and chain.record is not None and chain.record.promised > chain.ballot:
                self._preempted(chain, chain.record.promised, False)
        batch.flights = [flight for flight in batch.flights if flight.chain is not None]
        if not batch.flights:
            del self._batches[batch.number]
            return False
        if len(batch.flights) < count:
            message = _proposals(batch.number, batch.flights)
        self.initial.disk_took(batch.sent_at)
        batch.wake = context.now + context.patience(context.timing.resend_s)
        for node in batch.group.nodes:
            if node != context.node:
                context.send(node, message)
                batch.sent_at = context.now
        for flight in batch.flights:
            chain = flight.chain
            assert chain is not None
            chain.own_first = False
            if (chain.waiting or chain.relayed) and not chain.touched:
                self._touch(chain)
        return True

    def _give_up_initial(self, batch: Batch) -> None:
        """The own disk does not answer: go on through the others, at a ballot that does not need it."""
        self.initial.disk_took(batch.sent_at)
        for flight in batch.flights:
            chain = flight.chain
            if chain is not None:
                self.counters["initial_ballots_given_up"] += 1
                self._lose(chain, chain.ballot, False)

    def _outbox(self, chain: Chain) -> Outbox:
        kind = OWN_FIRST if chain.own_first else UNREAD if chain.record is None else AT_ONCE
        outbox = self._outbox_used
        if outbox is None or outbox.group is not chain.group or outbox.kind != kind:
            outbox = self._outboxes.get((chain.group, kind))
        if outbox is not None and outbox.bytes > _BATCH_BYTES_MAX:
            self._flush()
            outbox = None
        if outbox is None:
            outbox = self._outboxes[(chain.group, kind)] = Outbox(chain.group, kind)
        self._outbox_used = outbox
        return outbox

    def _prepare(self, chain: Chain) -> None:
        context = self._context
        if chain.record is None and (record := self._records.resident.get(chain.key)) is not None:
            # The own disk was too slow for the first attempt.
            chain.record = record
            record.busy = True
        record = chain.record
        round_ = max(chain.round_seen, self._round_min, ballots.round_of(chain.ballot))
        if record is not None:
            round_ = max(round_, ballots.round_of(record.promised))
        if round_ >= ballots.ROUND_MAX:
            # No peer would take a higher one, nor this node itself when it starts again. Operations time out.
            chain.phase = BACKING_OFF
            chain.wake = context.now + context.timing.backoff_s_max
            self._soonest = min(self._soonest, chain.wake)
            return
        chain.ballot = ballots.make_ballot(round_ + 1, context.node)
        chain.phase = PREPARING
        chain.own_first = False
        chain.promises = 0
        chain.base_version = 0
        chain.base_register = registers.EMPTY
        chain.floor = 0
        known = 0
        if record is not None:
            known = record.accepted
            chain.known_register = record.register
        chain.wake = context.now + context.patience(context.timing.resend_s, chain.attempt)
        chain.attempt += 1
        outbox = self._outbox(chain)
        outbox.preparing.append(chain)
        outbox.prepare_keys.append(chain.key)
        outbox.prepare_ballots.append(chain.ballot)
        outbox.known.append(known)
        outbox.bytes += len(chain.key) + 24
        self.counters["prepares"] += 1

    def _renew(self, chain: Chain) -> None:
        """Take a higher round. A lost promise cannot be asked for again, and a ballot's steps can run out."""
        self._abandon(chain)
        self._prepare(chain)
        self._give_back_relays(chain, chain.ballot)

    def _hold(self, chain: Chain) -> None:
        """A quorum has promised: the base is what it has accepted highest; promises that come later do not count."""
        chain.phase = HOLDING
        chain.step = 0
        chain.tail = registers.decode(chain.base_register)
        if chain.base_version == 0:
            chain.tail.horizon = chain.floor
        chain.base_register = chain.known_register = registers.EMPTY
        if not chain.touched:
            self._touch(chain)

    def _fold(self, chain: Chain) -> None:
        """Put everything that waits through the tail, in order, and propose the last of it as one Accept."""
        record = chain.record
        if chain.is_quiet():
            self.close(chain)
            return
        if record is not None and record.promised > chain.ballot:
            self._preempted(chain, record.promised, False)
            return
        if not self._takes_a_fold(chain):
            return
        tail = chain.tail
        if tail is None:
            if len(chain.waiting) == 1 and not chain.unresolved and not chain.relayed and self._put(chain):
                return
            tail = chain.tail = registers.decode(chain.base_register)
        step = chain.step
        # A list of its own for the flight: the chain's goes on collecting.
        jobs, chain.relayed = chain.relayed, []
        answers, gets = self._evaluate(chain, tail, jobs)
        self.counters["folded_operations"] += len(answers)
        if not answers and not jobs:
            if chain.is_quiet():
                self.close(chain)
            return
        if tail.expires_at:
            # What was put with an expiry in the past is gone at once.
            lapse(chain, self._context.wall_ms)
        if chain.step == step:
            if self._records_nothing(chain, answers, jobs, gets):
                return
            chain.step += 1
        self._propose(chain, registers.encode(tail), answers, jobs)

    def _takes_a_fold(self, chain: Chain) -> bool:
        """Whether the ballot may have another batch now. If not, one on its way, or a new ballot, goes on with it."""
        if chain.own_first and chain.flights:
            # A second batch would wait for a commit of its own, and be given up on its own.
            return False
        if len(chain.flights) >= _FLIGHTS_MAX:
            # Each holds the whole value. What waits goes with the next, when one of them is chosen.
            return False
        # A step for each, one more where something expires before it, and the same for the end of the fold.
        wanted = 2 * (len(chain.unresolved) + len(chain.waiting) + 1)
        for job in chain.relayed:
            wanted += 2 * len(job.operations)
        if chain.step + wanted > ballots.STEP_MAX:
            # The ballot has no steps left: a new round, once nothing of this one is in flight.
            if not chain.flights:
                self._renew(chain)
            return False
        return True

    def _evaluate(
        self, chain: Chain, tail: registers.Register, jobs: list[RelayJob]
    ) -> tuple[list[tuple[Operation, Result]], list[Operation]]:
        """Put what was relayed, what is in doubt and what waits through the tail; the own operations with what came of
        each, and the gets among them."""
        context = self._context
        node = context.node
        limit = context.value_bytes_max
        wall_ms = context.wall_ms
        answers: list[tuple[Operation, Result]] = []
        gets: list[Operation] = []
        for job in jobs:
            job.results = [enter(chain, job.origin, operation, limit, wall_ms) for operation in job.operations]
        if chain.unresolved:
            unresolved, chain.unresolved = chain.unresolved, []
            for operation in unresolved:
                if operation.done:
                    continue
                result = enter(chain, node, operation, limit, wall_ms)
                answers.append((operation, result))
        waiting, chain.waiting = chain.waiting, []
        ballot = chain.ballot
        for operation in waiting:
            if operation.done:
                continue
            if operation.kind == operations.GET:
                if tail.expires_at:
                    lapse(chain, wall_ms)
                gets.append(operation)
                answers.append((operation, Result(operations.OK, tail.value, tail.version, tail.expires_at)))
                continue
            operation.number = context.next_operation()
            operation.exposed = ballot
            answers.append((operation, enter(chain, node, operation, limit, wall_ms)))
        return answers, gets

    def _records_nothing(
        self, chain: Chain, answers: list[tuple[Operation, Result]], jobs: list[RelayJob], gets: list[Operation]
    ) -> bool:
        """See to a fold that left the register as it was; False if that takes a step all the same.

        What was settled is answered with the tail, once that is chosen at this ballot.
        """
        if gets and not chain.identity_wanted and len(gets) == len(answers) and not jobs:
            for operation in gets:
                self._read(operation)
        elif chain.flights and not gets:
            chain.flights[-1].answers.extend(answers)
            chain.flights[-1].jobs.extend(jobs)
            return True
        elif chain.step and not gets:
            self.finish(answers, jobs)
        else:
            return False
        if chain.is_quiet():
            self.close(chain)
        return True

    def _put(self, chain: Chain) -> bool:
        """Propose the one operation that waits without decoding the tail, if it is a plain put on a plain register.

        The same as `enter` would, bytes and all; most of what a cluster does is this.
        """
        [operation] = chain.waiting
        if operation.kind != operations.PUT or operation.condition is not None or operation.expiry is not None:
            return False
        if operation.done:
            return False
        context = self._context
        number = context.next_operation()
        version = chain.ballot << ballots.STEP_BITS | chain.step + 1
        argument = operation.argument
        assert type(argument) is bytes
        register = registers.successor(chain.base_register, context.node, number, version, argument)
        if register is None:
            return False
        operation.number = number
        operation.exposed = chain.ballot
        chain.waiting = []
        chain.step += 1
        chain.base_register = register
        self.counters["folded_operations"] += 1
        self._propose(chain, register, [(operation, Result(operations.OK, None, version))], [])
        return True

    def _propose(
        self, chain: Chain, register: bytes, answers: list[tuple[Operation, Result]], jobs: list[RelayJob]
    ) -> None:
        """Put the chain's next Accept into the turn's batch."""
        chain.identity_wanted = False
        version = chain.ballot << ballots.STEP_BITS | chain.step
        flight = Flight(chain, version, register, answers, jobs)
        chain.flights.append(flight)
        outbox = self._outbox(chain)
        outbox.flights.append(flight)
        outbox.keys.append(chain.key)
        outbox.versions.append(version)
        outbox.registers.append(register)
        size = len(chain.key) + len(register) + 24
        outbox.bytes += size
        self._turn_bytes += size

    def _flush(self) -> None:
        """Send the outboxes."""
        if not self._outboxes:
            return
        context = self._context
        outboxes = self._outboxes
        self._outboxes = {}
        self._outbox_used = None
        for outbox in outboxes.values():
            outbox.drop_stale()
            number = context.next_batch()
            message = Proposals(
                number,
                tuple(outbox.prepare_keys),
                tuple(outbox.prepare_ballots),
                tuple(outbox.known),
                tuple(outbox.keys),
                tuple(outbox.versions),
                tuple(outbox.registers),
            )
            timing = context.timing
            own_first = outbox.kind == OWN_FIRST
            wake = context.now + context.patience(timing.own_first_s if own_first else timing.resend_s)
            batch = self._batches[number] = Batch(number, outbox, context.now, wake)
            self.counters["proposed_steps"] += len(outbox.flights)
            if own_first:
                batch.unsent = message
                self._vote(message)
                continue
            for node in outbox.group.nodes:
                if node != context.node:
                    context.send(node, message)
            if self.voting and context.node in outbox.group.nodes:
                self._vote(message)

    def _chosen(self, chain: Chain, flight: Flight) -> None:
        """A quorum has accepted the flight's step, and with it every earlier step of the chain."""
        flights = chain.flights
        while flights:
            first = flights.pop(0)
            first.chain = None
            self.finish(first.answers, first.jobs)
            first.answers = []
            first.jobs = []
            if first is flight:
                break
        chain.attempt = 0
        if not flights:
            self.go_on(chain)
        elif (chain.waiting or chain.relayed) and not chain.touched:
            self._touch(chain)

    def finish(self, answers: list[tuple[Operation, Result]], jobs: list[RelayJob]) -> None:
        """Answer own operations, and the origins of those that were relayed here."""
        answer = self._context.answer
        for operation, result in answers:
            if result.status == UNKNOWN:
                result = recall(operation, result)
                if result.status == UNKNOWN:
                    result = _unknown("an earlier attempt was overtaken, and its result is not known")
                    self.counters["unknown_outcomes"] += 1
            answer(operation, result)
        for job in jobs:
            self._mail.answer(job.origin, job.number, 0, job.results)

    # Losing, and what then.

    def _refused(self, batch: Batch, refusal: Refusal) -> None:
        flight = batch.flight(refusal.key)
        if flight is not None and (holding := flight.chain) is not None:
            if refusal.promised > holding.ballot or refusal.by_floor:
                self._preempted(holding, refusal.promised, refusal.by_floor)
        elif (asked := batch.prepared(refusal.key)) is not None:
            chain, ballot = asked
            # A refusal at the round's own ballot answers a duplicate of a Prepare, and means nothing.
            ours = chain.ballot == ballot and chain.phase == PREPARING
            if ours and (refusal.promised > ballot or refusal.by_floor):
                self._preempted(chain, refusal.promised, refusal.by_floor)

    def _preempted(self, chain: Chain, promised: int, by_floor: bool) -> None:
        """The key is another's."""
        self.counters["preemptions"] += 1
        self._lose(chain, promised, by_floor)

    def _lose(self, chain: Chain, promised: int, by_floor: bool) -> None:
        """The ballot is not held any more. What was in unchosen steps is in doubt: relay it, or take the key back."""
        self._abandon(chain)
        chain.round_seen = max(chain.round_seen, ballots.round_of(promised))
        # A floor names nobody who could take them.
        self._give_back_relays(chain, chain.ballot if by_floor else promised)
        in_doubt = []
        for flight in chain.take_flights():
            for operation, result in flight.answers:
                if operation.kind == operations.GET:
                    if not operation.done:
                        self._read(operation)
                    continue
                remember(operation, chain.ballot, result)
                in_doubt.append(operation)
        if in_doubt:
            chain.unresolved = sorted(in_doubt + chain.unresolved, key=lambda operation: operation.number)
        chain.phase = IDLE
        chain.tail = None
        holder = ballots.node_of(promised)
        if not by_floor and promised > chain.ballot and holder != self._context.node:
            self.relaying.relay(chain, promised)
        else:
            self.back_off(chain)

    def _give_back_relays(self, chain: Chain, promised: int) -> None:
        """Drop what was relayed here, and tell its origins, so that they need not wait for a time-out."""
        jobs = chain.relayed
        chain.relayed = []
        for flight in chain.flights:
            jobs = jobs + flight.jobs
            flight.jobs = []
        for job in jobs:
            self._mail.answer(job.origin, job.number, promised, job.results)

    def back_off(self, chain: Chain) -> None:
        """Take the key, after a jittered pause that grows with every attempt, so that no two nodes duel for ever."""
        if chain.is_quiet():
            self.close(chain)
            return
        if chain.attempt == 0:
            self._prepare(chain)
            return
        context = self._context
        timing = context.timing
        ceiling = max(timing.backoff_s_min, context.round_s) * 2.0 ** min(chain.attempt, 10)
        chain.phase = BACKING_OFF
        chain.attempt += 1
        chain.wake = context.now + context.rng.uniform(0, min(ceiling, timing.backoff_s_max))
        self._soonest = min(self._soonest, chain.wake)

    def flush_relays(self) -> None:
        """Hand this turn's relays and relay answers to the peers' frames."""
        self._mail.flush()

    # Time.

    def tick(self) -> None:
        """Look for what has waited too long."""
        now = self._context.now
        self._soonest = float("inf")
        for chain in list(self.chains.values()):
            if chain.deadline <= now:
                self._expire(chain)
            if chain.phase in (HOLDING, IDLE):
                continue  # Nearly all, under load.
            if chain.wake <= now and self.chains.get(chain.key) is chain:
                if chain.phase == PREPARING:
                    self.counters["prepare_retries"] += 1
                    self._renew(chain)
                elif chain.phase == RELAYING:
                    self.relaying.overdue(chain)
                elif chain.phase == BACKING_OFF:
                    self._prepare(chain)
            if chain.phase == BACKING_OFF:
                self._soonest = min(self._soonest, chain.wake)
        self.relaying.tick()
        self._resend()

    def _expire(self, chain: Chain) -> None:
        """Answer what is past its deadline: definite if it was never exposed, unknown otherwise."""
        now = self._context.now
        earliest = float("inf")
        live = False
        for flight in chain.flights:
            live = live or bool(flight.jobs)
        for operation in _operations_of(chain):
            if operation.done:
                continue
            if operation.deadline > now:
                earliest = min(earliest, operation.deadline)
                live = True
                continue
            self.counters["timeouts"] += 1
            if operation.number:
                self.counters["unknown_outcomes"] += 1
                self._context.answer(
                    operation, _unknown("it was on its way to the replicas' disks, and no majority answered in time")
                )
            else:
                self._context.answer(operation, _unavailable())
        chain.deadline = earliest
        chain.waiting = [operation for operation in chain.waiting if not operation.done]
        if chain.phase != RELAYING:
            # A relay's answer is matched with the list that was sent, so that one stays as it is.
            chain.unresolved = [operation for operation in chain.unresolved if not operation.done]
        if not live and not chain.relayed:
            self.relaying.drop(chain)
            chain.unresolved = []
            chain.take_flights()
            chain.phase = IDLE
            self.close(chain)

    def _resend(self) -> None:
        """Send unchosen steps again to who has not acknowledged them; leave chosen ones to repair."""
        context = self._context
        now = context.now
        finished = []
        given_up = []
        votes = []
        for number, batch in self._batches.items():
            if batch.wake > now:
                continue
            if batch.unsent is not None:
                if not self.initial.is_needed(batch.group):
                    finished.append(number)
                    given_up.append(batch)
                continue
            open_flights = [flight for flight in batch.flights if flight.chain is not None]
            lagging = [node for node in batch.group.nodes if not batch.acks >> node & 1 and node != context.node]
            if not open_flights:
                if batch.flights and now - batch.sent_at < context.timing.repair_delay_s:
                    batch.wake = batch.sent_at + context.timing.repair_delay_s
                elif not any(chain.ballot == b and chain.phase == PREPARING for chain, b in batch.preparing):
                    finished.append(number)
                    for node in lagging:
                        self._behind(node, batch.flights)
                continue
            votes_again = self.voting and context.node in batch.group.nodes and not batch.acks >> context.node & 1
            if votes_again and self._turn_bytes > _TURN_BYTES_MAX:
                continue  # It stays due.
            batch.attempt += 1
            batch.wake = now + context.patience(context.timing.resend_s, batch.attempt)
            self.counters["resends"] += 1
            message = _proposals(number, open_flights)
            for node in lagging:
                if node in context.up:
                    context.send(node, message)
            if votes_again:
                votes.append(message)
                self._turn_bytes += sum(map(len, message.accept_registers))
        for number in finished:
            del self._batches[number]
        for batch in given_up:
            self._give_up_initial(batch)
        for message in votes:
            # The own acceptor takes nothing while its disk hangs, and when too much waits there it drops votes.
            self._vote(message)

    def deadline(self) -> float | None:
        """When the next tick is of use."""
        if self._touched:
            return self._context.now  # Nobody waits for anything but the end of the turn before.
        if self.chains or self._batches:
            return min(self._context.now + self._context.timing.tick_s, self._soonest)
        return None

    def status(self) -> dict[str, Any]:
        """Counters and gauges."""
        return {
            **self.counters,
            "active_keys": len(self.chains),
            "batches_in_flight": len(self._batches),
            "round_ms": round(self._context.round_s * 1000, 3),
        }


def _proposals(number: int, flights: list[Flight]) -> Proposals:
    """The Accepts of some flights."""
    return Proposals(
        number,
        (),
        (),
        (),
        tuple([flight.key for flight in flights]),
        tuple([flight.version for flight in flights]),
        tuple([flight.register for flight in flights]),
    )


def _operations_of(chain: Chain) -> list[Operation]:
    found = [operation for flight in chain.flights for operation, _ in flight.answers]
    return found + chain.unresolved + chain.waiting


def _unknown(reason: str) -> Result:
    return Result(UNKNOWN, f"the operation may or may not have happened: {reason}".encode(), 0)


def _unavailable() -> Result:
    return Result(
        errors.Unavailable.status,
        b"no majority of the key's replicas answered in time; nothing was changed, try again",
        0,
    )
