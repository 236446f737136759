"""How long until nodes serve again: all of them after a power cut, and one that was away."""

import time
from typing import Any, Final

from comparison.load import Load
from comparison.results import Results
from comparison.scenarios.contract import Scenario, Section, Turn, number, significant, table

_CLIENTS: Final = 60


class Recovery(Scenario):
    name = "recovery"
    measurements, other_s = (0, 0), (150.0, 40.0)
    title = "Recovery"
    question = "How long does it take until all nodes serve again after SIGKILL, and what does a node's return cost?"

    def run(self, turn: Turn) -> None:
        pace, system = turn.pace, turn.system
        keys = pace.pick(1_000_000, 100_000)
        turn.start()
        turn.say(f"writing {keys:,} keys")
        system.drive(Load(256, 0.5, keys=keys, fill=True))
        numbers = system.numbers()
        turn.say("killing all nodes")
        for node in numbers:
            system.kill(node)
        began = time.monotonic()
        for node in numbers:
            system.begin(node)
        served = {}
        for node in numbers:
            system.wait_ready(node)
            served[node] = time.monotonic() - began
        data: dict[str, Any] = {"all_s": max(served.values()), "first_s": min(served.values()), "keys": keys}
        turn.keep({"what": "all killed"}, data)
        if len(numbers) == 1 or not system.faults:
            return
        away_s, after_s = pace.pick((8.0, 8.0), (2.0, 3.0))
        victim = next(node for node in numbers if node != system.leader())
        turn.say("one node is away")
        running = system.begin_load(Load(_CLIENTS, 1 + away_s + after_s, timeline=True, keys=keys, route="any"))
        turn.stack.callback(running.stop)
        running.wait_measuring()
        time.sleep(1)
        system.kill(victim)
        time.sleep(away_s)
        back = time.time()
        system.begin(victim)
        system.wait_ready(victim)
        ready_s = time.time() - back
        found = running.result()
        ok = found["timeline"]["ok"]
        at = int((back - found["began_unix"]) * 100)
        away = ok[at - int(away_s * 50) : at]
        returned = ok[at : at + 200]
        level = sum(away) / max(1, len(away))
        cost = sum(returned) / max(1, len(returned)) / level if level else 0.0
        turn.keep({"what": "one away"}, {"ready_s": ready_s, "kept": cost, "missed": sum(ok[100:at])})

    def tell(self, results: Results) -> Section | None:
        systems = results.systems(self.name, what="all killed")
        if not systems:
            return None
        rows = []
        for system in systems:
            found = {
                name: results.median(self.name, system, name) for name in ("all_s", "ready_s", "kept", "missed", "keys")
            }
            kept = "" if found["kept"] is None else f"{found['kept']:.0%}"
            ready, missed = significant(found["ready_s"]), number(found["missed"])
            rows.append([results.title(system), significant(found["all_s"]), ready, missed, kept])
        keys = max(results.values(self.name, systems[0], "keys"))
        head = ["", "s until all serve", "s until one that was away serves", "writes it missed"]
        head.append("throughput in the 2 s after its return, against before")
        answer = ", ".join(
            f"{results.title(s)} {significant(results.median(self.name, s, 'all_s'))} s" for s in systems
        )
        return Section(
            f"With {number(keys)} keys, after SIGKILL all nodes serve again after: {answer}.",
            [table(head, rows)],
            notes=[
                "Serving: a node answers a read (for etcd its health check, for ZooKeeper and PySyncObj that it has "
                "joined). Starting a process is in it, half a second of Python for paxoskv. Whether a node that was "
                "away holds everything again is not seen from outside: paxoskv's leaderless mode repairs in the "
                "background, and answers meanwhile by asking the others."
            ],
        )
