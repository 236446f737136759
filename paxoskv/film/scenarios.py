"""Five stories to see the protocol by, each of them played by the real engines."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from paxoskv.core import operations
from paxoskv.film.theatre import Theatre
from paxoskv.trace import reading
from paxoskv.trace.reading import Event


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story. Texts by mode, since the same events end differently in each."""

    name: str
    title: str
    sentence: str
    texts: dict[str, str]
    script: Callable[[Theatre], None]
    leader: int = 1
    """Who leads at the beginning, where somebody does."""
    seed: int = 1
    """Where chance begins: it decides what a crash leaves of a row that was on its way to the disk."""


def _duel(theatre: Theatre) -> None:
    theatre.at(0.3, lambda: theatre.ask(1, 1, operations.PUT, b"a", b"tea"))
    theatre.at(0.42, lambda: theatre.ask(2, 3, operations.PUT, b"a", b"coffee"))
    theatre.at(8.0, lambda: theatre.ask(3, 2, operations.GET, b"a"))


def _takeover(theatre: Theatre) -> None:
    proposal = "Append" if theatre.is_led else "Accept"

    def second() -> None:
        # Only node 2 gets to know of it: node 1 dies before it is on its own disk.
        theatre.lose(1, 3, proposal)
        theatre.when("send", lambda: theatre.crash(1), source=1, target=3, says=proposal)
        theatre.ask(1, 1, operations.PUT, b"a", b"cocoa", then=lambda: theatre.at(0.6, read))

    def read() -> None:
        theatre.ask(2, 3, operations.GET, b"a", then=lambda: theatre.at(0.4, write))

    def write() -> None:
        theatre.ask(2, 3, operations.PUT, b"a", b"coffee", then=lambda: theatre.at(0.4, lambda: theatre.restart(1)))
        theatre.when("start", lambda: theatre.at(4, last), node=1)

    def last() -> None:
        theatre.ask(1, 1, operations.GET, b"a")

    theatre.at(0.3, lambda: theatre.ask(1, 1, operations.PUT, b"a", b"tea", then=lambda: theatre.at(0.8, second)))


def _minority(theatre: Theatre) -> None:
    def cut() -> None:
        theatre.cut_off(3)
        theatre.at(0.4, lambda: theatre.ask(1, 3, operations.PUT, b"a", b"water", patience_ms=4000))
        theatre.at(0.7, lambda: theatre.ask(2, 1, operations.PUT, b"a", b"coffee", then=others))

    def others() -> None:
        theatre.at(0.5, lambda: theatre.ask(3, 2, operations.GET, b"a", then=heal))

    def heal() -> None:
        theatre.at(1.5, lambda: theatre.reconnect(3))

    theatre.at(0.3, lambda: theatre.ask(1, 3, operations.PUT, b"a", b"tea", then=lambda: theatre.at(0.8, cut)))


def _lost_ack(theatre: Theatre) -> None:
    acknowledgement = "Appended" if theatre.is_led else "Accepted"

    def again() -> None:
        theatre.lose(2, 1, acknowledgement)
        theatre.lose(3, 1, acknowledgement)
        theatre.ask(1, 1, operations.INCR, b"a", 1, then=lambda: theatre.at(0.6, look))

    def look() -> None:
        theatre.ask(2, 2, operations.GET, b"a")

    theatre.at(0.3, lambda: theatre.ask(1, 1, operations.INCR, b"a", 1, then=lambda: theatre.at(0.8, again)))


def _hot_key(theatre: Theatre) -> None:
    for client in range(1, 13):
        node = 1 + client % 3
        first = 0.3 if node == 1 else 0.9
        theatre.at(first + 0.01 * client, lambda client=client, node=node: ask(client, node))  # type: ignore[misc]

    def ask(client: int, node: int) -> None:
        theatre.ask(client, node, operations.INCR, b"a", 1)

    theatre.at(7.0, lambda: theatre.ask(13, 2, operations.GET, b"a"))


SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "duel",
            "Two writers want the same key at once",
            "Two clients write one key through two nodes in the same instant.",
            {
                "paxos": "Nodes 1 and 3 both claim key a. Two claims cannot both get a majority of promises, so the "
                "higher ballot wins; and the loser, instead of bidding higher again, hands its client's write to the "
                "winner. Nobody is turned away, and everybody sees one order.",
                "raft": "Both writes go to the leader, whatever node the clients talk to. It puts them into its log, "
                "one after the other, and the log is the order.",
            },
            _duel,
            leader=2,
        ),
        Scenario(
            "takeover",
            "A node dies in the middle of a write",
            "The node that coordinates a write crashes when only one other has heard of it; somebody else finishes it.",
            {
                "paxos": "Node 1 dies when one other node has accepted its write. Its client will never know; but the "
                "next reader, through node 3, meets the half-done write, and finishes it before it answers. Who writes "
                "next claims the key with a higher ballot. Nobody had to be elected, and nobody waited for a timeout.",
                "raft": "The leader dies when one follower has its entry. Nothing can be read or written until the "
                "others notice, and elect the one with the longer log. It opens a new term, and with that the entry is "
                "committed.",
            },
            _takeover,
            # Its own row does not get onto its disk, and an election takes about as long as most do.
            seed=12,
        ),
        Scenario(
            "minority",
            "Cut off",
            "One node of three loses its links: it can do nothing, the others go on.",
            {
                "paxos": "Node 3 is cut off, and the client that talks to it waits: one node of three is no majority. "
                "The other two go on as if nothing had happened. When the link heals, the write that waited goes "
                "through, and comes after theirs.",
                "raft": "The node that is cut off is the leader. It cannot commit anything any more; the others notice "
                "after a while, elect a new leader, and go on. When the link heals, the old one learns of the new term "
                "and follows.",
            },
            _minority,
            leader=3,
        ),
        Scenario(
            "lost-ack",
            "The acknowledgements get lost",
            "A write is on a majority of disks, but nobody says so: it is sent again, and counts once.",
            {
                "paxos": "The second increment is on every disk, but both acknowledgements get lost. Node 1 cannot "
                "know that, so it sends the same step of the same ballot again; who has it already only says so once "
                "more. The counter shows 2, not 3.",
                "raft": "The entry is on every disk, but both acknowledgements get lost. The leader hears of it with "
                "its next message, since a follower always says up to where its log goes. The counter shows 2, not 3.",
            },
            _lost_ack,
        ),
        Scenario(
            "hot-key",
            "Twelve clients, one key",
            "Twelve clients increment one counter through all nodes at once.",
            {
                "paxos": "One node holds the key, the others relay to it. What waits together is folded into one step: "
                "one message to each peer and one row on each disk, for many clients.",
                "raft": "Followers forward what their clients want in batches. The leader makes an entry of what waits "
                "together: one message to each peer and one row on each disk, for many clients.",
            },
            _hot_key,
        ),
    )
}


def perform(name: str, mode: str) -> list[Event]:
    """The trace of a scenario."""
    scenario = SCENARIOS[name]
    lines: list[str] = []
    theatre = Theatre(mode, scenario.title, scenario.texts[mode], lines.append, scenario.leader, scenario.seed)
    scenario.script(theatre)
    theatre.play()
    return list(reading.parse((line + "\n" for line in lines), f"the scenario {name}"))
