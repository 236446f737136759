"""Whether a key may be begun at its initial ballot, without asking anybody; protocol.md section 3."""

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
        self._mean_s = 0.0
        """Of the times from a vote on first Accepts until it is on the own disk."""
        self._pause_until = 0.0

    def may_begin(self, chain: Chain) -> bool:
        """The key has its home here and was never used; and the own disk does not make it wait."""
        context = self._context
        record = chain.record
        return (
            record is not None
            and record.promised == 0
            and chain.ballot == 0
            and chain.round_seen == 0
            and self._pause_until <= context.now
            and context.now - self.journaling_since <= context.timing.own_first_lag_s
            and context.placement.home(chain.key) == context.node
        )

    def disk_took(self, seconds: float) -> None:
        """Keep the mean. Where the others' disks are much quicker, asking them first takes less time."""
        context = self._context
        self._mean_s += (seconds - self._mean_s) * 0.05
        if self._mean_s > max(2 * context.round_s, context.timing.own_first_lag_s):
            self._mean_s = 0.0
            self._pause_until = context.now + context.timing.own_first_pause_s
