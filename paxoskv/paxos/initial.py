"""Whether a key may be begun at its initial ballot, without asking anybody; protocol.md section 3."""

from paxoskv.core.placement import ReplicaSet
from paxoskv.paxos.chain import Chain
from paxoskv.paxos.context import Context


class InitialBallots:
    """Which keys are this node's to begin, as long as its disk is quick enough for that.

    Nobody can have accepted anything below a key's initial ballot, so there is nothing to ask for. That it was never
    used, only the own disk can say, in all incarnations. So the own vote has to be there before anybody hears of it: a
    node that forgot its vote in a crash would put another register under the same version (A3, B16).
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.journaling_since = float("inf")
        """When the oldest of what is not on the own disk yet was journaled."""
        self.floor = 0
        """The own acceptor's: below one nothing is accepted of a key without a record (6)."""
        self._mean_s = 0.0
        """Of the times from a vote on first Accepts until it is on the own disk."""
        self._pause_until = 0.0

    def may_begin(self, chain: Chain) -> bool:
        """The key has its home here and was never used; and the own disk does not make it wait.

        Not without a majority either: on the own disk an operation is exposed, and its end would be unknown, where
        nobody heard of a Prepare.
        """
        context = self._context
        record = chain.record
        if (
            record is None
            or record.promised
            or chain.ballot
            or chain.round_seen
            or self.floor
            or context.placement.home(chain.key) != context.node
        ):
            return False
        quorum = chain.group.quorum
        others_up = self._others_up(chain.group)
        return others_up >= quorum - 1 and self._is_quick(others_up < quorum)

    def is_needed(self, group: ReplicaSet) -> bool:
        """No majority can do without the own disk, so there is nothing quicker than to wait for it."""
        return self._others_up(group) < group.quorum

    def _others_up(self, group: ReplicaSet) -> int:
        up = self._context.up
        return sum([node in up for node in group.nodes])

    def _is_quick(self, is_needed: bool) -> bool:
        """The own disk does not seem to take longer than asking the others does; where that needs it, to hang."""
        context = self._context
        owing_s = context.now - self.journaling_since
        if is_needed:
            return owing_s <= context.timing.resend_s
        return self._pause_until <= context.now and owing_s <= context.timing.own_first_lag_s

    def disk_took(self, since: float) -> None:
        """Keep the mean. Where the others' disks are much quicker, asking them first takes less time."""
        context = self._context
        if context.was_paused_since(since):
            return
        self._mean_s += (context.now - since - self._mean_s) * 0.05
        if self._mean_s > max(2 * context.round_s, context.timing.own_first_lag_s):
            self._mean_s = 0.0
            self._pause_until = context.now + context.timing.own_first_pause_s
