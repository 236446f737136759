"""Terms, votes and who leads; dissertation, sections 3.4, 3.10, 4.2.3 and 9.6.

(S1) At most one leader is elected in a term. It rests on two things: a node votes once in a term, and a vote, its own
included, counts only when the disk of who gave it has it.

A follower first asks whether it would be elected, without disturbing anybody (a trial, the dissertation's pre-vote).
Nobody who hears from a leader says yes, so that a node that comes back from a partition deposes none.
"""

from collections.abc import Callable
from typing import Final

from paxoskv.raft.context import Context
from paxoskv.raft.log import Log
from paxoskv.raft.messages import Campaign, HardState, Vote, VoteRequest

FOLLOWER: Final = "follower"
TRYING: Final = "pre-candidate"
CANDIDATE: Final = "candidate"
LEADER: Final = "leader"


class Election:
    """One node's part in elections."""

    def __init__(self, context: Context, log: Log, on_change: Callable[[], None]) -> None:
        """`on_change` is called whenever this node's role, term or leader is another."""
        self._context = context
        self._log = log
        self._on_change = on_change
        self.term = 0
        self.vote = 0
        self.role = FOLLOWER
        self.leader = 0
        """The leader of this term, 0 as long as it is not known."""
        self.may_stand = True
        self.bound = False
        """To have heard from a leader is a promise, which its lease stands on."""
        self.heard_at = float("-inf")
        """When a leader was last heard of."""
        self._stand_at = float("-inf")
        self._excused = False
        """It has waited, since it heard of a leader, for what was said while it did not run."""
        self._voters: set[int] = set()
        self._changed = False
        self._journaled = 0
        self._durable = 0
        self._held: list[tuple[int, Vote]] = []
        self.counters = dict.fromkeys(("trials", "elections", "elections_won", "votes_granted", "votes_refused"), 0)

    # What is durable.

    def restore(self, state: HardState) -> None:
        """From the journal, or the log's base. Later ones may come first."""
        if state.term > self.term or (state.term == self.term and state.vote):
            self.term, self.vote = state.term, state.vote

    def take_state(self, sequence: int) -> HardState | None:
        """What has to be journaled, with that sequence, if term or vote have changed."""
        if not self._changed:
            return None
        self._changed = False
        self._journaled = sequence
        return HardState(self.term, self.vote)

    @property
    def is_durable(self) -> bool:
        """Term and vote are on disk as they are."""
        return not self._changed and self._journaled <= self._durable

    def committed(self, sequence: int) -> None:
        """Everything journaled up to there is on disk: votes count now."""
        self._durable = sequence
        if not self.is_durable:
            return
        held, self._held = self._held, []
        for peer, vote in held:
            # A vote of a past term is worth nothing any more, and this node may have moved on by voting in a later one.
            if vote.term == self.term:
                self._context.send(peer, vote)
        if self.role == CANDIDATE:
            self._count(self._context.node)

    def peer_restarted(self, peer: int) -> None:
        """Votes that wait for this node's disk were asked for by an incarnation that is gone."""
        self._held = [held for held in self._held if held[0] != peer]

    # Roles.

    def _become(self, role: str, term: int, leader: int) -> None:
        if term != self.term:
            assert term > self.term, "terms never decrease"
            self.term, self.vote = term, 0
            self._changed = True
        elif (role, leader) == (self.role, self.leader):
            return
        self.role, self.leader = role, leader
        self._on_change()

    def follow(self, term: int, leader: int) -> None:
        """Be a follower in that term, of that leader if it is known."""
        assert leader != self._context.node
        if self.role != FOLLOWER:
            self.postpone()
        self._become(FOLLOWER, term, leader)

    def heard(self, leader: int) -> None:
        """The leader of this term has said something."""
        assert self.role != LEADER, "(S1)"
        if leader in self._context.up or self.bound:
            # Not the last words of one that is gone, which came after its connection broke.
            self.heard_at = self._context.now
            self.postpone()
        if self.leader != leader:
            assert not self.leader, "(S1)"
            self.follow(self.term, leader)
        elif self.role != FOLLOWER:
            self.follow(self.term, leader)

    def postpone(self) -> None:
        """Do not stand for election before another while has passed without a leader."""
        context = self._context
        election_s = context.timing.election_s
        self._stand_at = context.now + context.rng.uniform(election_s, 2 * election_s)
        self._excused = False

    def leader_lost(self) -> None:
        """The connection to the leader broke, or it said that it leads no more.

        Most likely its process is gone, so do not wait as for silence. If it is not, the others hear it and say no.
        """
        context = self._context
        if not self.bound:
            self.heard_at = float("-inf")
            pause = context.rng.uniform(0, context.timing.election_s / 4)
            self._stand_at = min(self._stand_at, context.now + pause)
        self.follow(self.term, 0)

    @property
    def _hears_leader(self) -> bool:
        """A leader works, as far as this node knows; where leases stand on it, as far as it knew before it started."""
        context = self._context
        heard_at = max(self.heard_at, context.began_at) if self.bound else self.heard_at
        return self.role == LEADER or context.now < heard_at + context.timing.election_s

    def _stand(self) -> None:
        self.postpone()
        if not self.may_stand or (self.bound and self._hears_leader):
            return
        if self._context.quorum == 1:
            self._campaign(by_transfer=False)
            return
        self.counters["trials"] += 1
        self._become(TRYING, self.term, 0)
        self._voters = {self._context.node}
        self._ask(self.term + 1, is_trial=True, by_transfer=False)

    def _campaign(self, by_transfer: bool) -> None:
        self.counters["elections"] += 1
        self.postpone()
        self._voters = set()
        self._become(CANDIDATE, self.term + 1, 0)
        self.vote = self._context.node
        self._ask(self.term, is_trial=False, by_transfer=by_transfer)

    def _ask(self, term: int, is_trial: bool, by_transfer: bool) -> None:
        log = self._log
        for peer in self._context.peers:
            self._context.send(peer, VoteRequest(term, log.last_index, log.last_term, is_trial, by_transfer))

    def _count(self, voter: int) -> None:
        self._voters.add(voter)
        # Without its own vote, which waits for its disk, it could be elected twice in one term: the second time when it
        # has forgotten in a crash that it led, by those who vote for it again. And so one index and term could have two
        # entries.
        if len(self._voters) < self._context.quorum or self._context.node not in self._voters:
            return
        if self.role == TRYING:
            self._campaign(by_transfer=False)
        else:
            self.counters["elections_won"] += 1
            self._become(LEADER, self.term, self._context.node)

    # What peers say.

    def on_vote_request(self, sender: int, message: VoteRequest) -> None:
        context = self._context
        log = self._log
        if self._hears_leader and not message.by_transfer:
            # Not even its term is taken over: that would depose the leader just as well (4.2.3).
            context.send(sender, Vote(self.term, False, message.is_trial))
            return
        up_to_date = (message.last_term, message.last_index) >= (log.last_term, log.last_index)
        if message.is_trial:
            granted = message.term > self.term and up_to_date
            context.send(sender, Vote(message.term if granted else self.term, granted, True))
            return
        if message.term > self.term:
            self.follow(message.term, 0)
        granted = message.term == self.term and self.vote in (0, sender) and up_to_date
        if not granted:
            self.counters["votes_refused"] += 1
            context.send(sender, Vote(self.term, False, False))
            return
        self.counters["votes_granted"] += 1
        self.postpone()
        if self.vote != sender:
            self.vote = sender
            self._changed = True
        if self.is_durable:
            context.send(sender, Vote(self.term, True, False))
        else:
            self._held.append((sender, Vote(self.term, True, False)))

    def on_vote(self, sender: int, message: Vote) -> None:
        if message.is_trial and message.granted:
            if self.role == TRYING and message.term == self.term + 1:
                self._count(sender)
        elif message.term > self.term:
            self.follow(message.term, 0)
        elif message.granted and self.role == CANDIDATE and message.term == self.term:
            self._count(sender)

    def on_campaign(self, message: Campaign) -> None:
        if message.term == self.term and self.role == FOLLOWER and self.may_stand:
            self._campaign(by_transfer=True)

    # Time.

    def tick(self) -> None:
        """Stand for election if no leader was heard of for long enough."""
        if self.role == LEADER:
            return
        context = self._context
        if (context.resumed_at == context.now and not self._excused) or self._stand_at == float("-inf"):
            # This process did not run, so that it heard nothing says nothing; what was said may be waiting. Once: of a
            # process that hardly ever runs, every turn looks like that.
            self._excused = True
            timing = context.timing
            pause = context.rng.uniform(timing.heartbeat_s, timing.heartbeat_s + timing.election_s / 2)
            self._stand_at = max(self._stand_at, context.now + pause)
        if self._stand_at <= context.now:
            self._stand()

    def deadline(self) -> float:
        """When `tick` may be of use."""
        return float("inf") if self.role == LEADER else self._stand_at
