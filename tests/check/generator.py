"""Random histories: of a store that is right, of one with a defect, with answers spoilt, and with unknown outcomes."""

import random
from dataclasses import dataclass, replace

from check.model import number
from paxoskv.check.history import History, Operation, Value


@dataclass(frozen=True)
class Shape:
    """What a random history is made of."""

    operations: int
    clients: int
    kinds: tuple[str, ...]
    values: int
    """How many different values are written; 0: every write has its own."""
    versions: float
    """The probability that an answer tells the version."""
    deletes_tell_version: bool
    results: float
    """The probability that incr, append and delete tell their result."""
    unknown: float
    failed: float
    spoilt: int
    """How many answers or times are changed afterwards."""
    amounts: tuple[int, ...] = (1,)
    initial: bool = False
    defect: str = ""
    """One of DEFECTS: what the store does wrong now and then."""
    empty: bool = False
    """Whether empty texts are written and appended."""
    bytes_max: int = 100
    """The longest value; an append beyond it is refused."""


KEY = b"k"

DEFECTS = ("stale", "lost", "twice", "ghost", "split")

SETS = (
    ("get", "put"),
    ("get", "put", "cas"),
    ("get", "put", "swap", "cas"),
    ("get", "put", "delete"),
    ("get", "put", "delete", "cas", "swap"),
    ("get", "incr"),
    ("get", "incr", "incr"),
    ("get", "append"),
    ("get", "append", "append"),
    ("get", "append", "delete"),
    ("get", "append", "append", "put", "cas", "swap"),
    ("get", "incr", "delete", "put"),
    ("get", "put", "delete", "cas", "incr", "append", "swap"),
)


def random_shape(rng: random.Random, operations_max: int = 9) -> Shape:
    """A shape that leaves exhaustive search possible."""
    return Shape(
        operations=rng.randint(1, operations_max),
        clients=rng.randint(1, 5),
        kinds=rng.choice(SETS),
        values=rng.choice((0, 0, 1, 2, 3)),
        versions=rng.choice((0.0, 0.0, 1.0, 1.0, 1.0, 0.7)),
        deletes_tell_version=rng.random() < 0.25,
        results=rng.choice((1.0, 1.0, 0.0, 0.6)),
        unknown=rng.choice((0.0, 0.1, 0.3, 0.6)),
        failed=rng.choice((0.0, 0.0, 0.2)),
        spoilt=rng.choice((0, 0, 1, 1, 2)),
        amounts=rng.choice(((1,), (1,), (1, 2), (1, -1), (0, 3), (1, 2**63 - 1), (-1, -(2**63)))),
        initial=rng.random() < 0.15,
        defect=rng.choice(("", "", *DEFECTS)),
        empty=rng.random() < 0.1,
        bytes_max=rng.choice((100, 100, 5)),
    )


def random_history(rng: random.Random, shape: Shape) -> History:
    """A history on one key."""
    return _Store(rng, shape).run()


class _Store:
    def __init__(self, rng: random.Random, shape: Shape) -> None:
        self.rng = rng
        self.shape = shape
        self.value: Value = None
        self.version = 0
        self.last = 0
        self.written = 0
        self.told = [0]
        self.shown: list[Value] = [None]
        self.again: list[Operation] = []
        """What will be done a second time."""
        if shape.initial:
            # Or it was there once and is so no longer.
            self.value = self._fresh() if rng.random() < 0.8 else None
            self.last = self.version = rng.randint(1, 3)
        self.former = [(self.value, self.version)]
        self.other = self.value, self.version
        """The copy that the other half of the nodes has, where they are split."""

    def run(self) -> History:
        rng, shape = self.rng, self.shape
        initial = (self.value, self.version if rng.random() < shape.versions else None)
        # Each operation happens at a moment of its own; start and finish lie around it, on a coarse clock, so that
        # equal times are common.
        moments = sorted(rng.uniform(0, shape.operations * 2) for _ in range(shape.operations))
        busy = [0.0] * shape.clients
        operations = []
        for index, moment in enumerate(moments):
            client = rng.randrange(shape.clients)
            start = max(float(int(moment - rng.expovariate(1 / shape.clients))), busy[client])
            start = min(start, moment)
            finish = float(int(moment + 1 + rng.expovariate(1 / shape.clients)))
            busy[client] = finish
            operations.append(self._call(index + 1, client, start, finish))
        for _ in range(shape.spoilt):
            at = rng.randrange(len(operations))
            operations[at] = self._spoil(operations[at])
        rng.shuffle(operations)
        history = History(replace(each, number=at + 1) for at, each in enumerate(operations))
        if shape.initial:
            history.initial[KEY] = initial
        return history

    def _fresh(self) -> bytes:
        if self.shape.empty and self.rng.random() < 0.3:
            return b""
        if self.shape.values:
            return b"%d" % self.rng.randrange(self.shape.values)
        self.written += 1
        return b"%d" % self.written if "incr" in self.shape.kinds and self.rng.random() < 0.5 else b"v%d" % self.written

    def _call(self, place: int, client: int, start: float, finish: float) -> Operation:
        rng, shape = self.rng, self.shape
        kind = rng.choice(shape.kinds)
        argument: bytes | int | None = None
        condition: bytes | int | None = None
        if kind in ("put", "cas", "swap", "append"):
            argument = self._fresh()
        if kind == "incr":
            argument = rng.choice(shape.amounts)
        if kind == "cas":
            condition = self.value if rng.random() < 0.7 else rng.choice(self.shown)
        if kind in ("put", "delete") and shape.versions and rng.random() < 0.3:
            condition = self.version if rng.random() < 0.6 else rng.choice(self.told)
        call = Operation(place, client, kind, KEY, start, finish, "ok", argument, condition)
        if rng.random() < shape.failed:
            if shape.defect == "ghost":
                self._execute(call)
            return replace(call, outcome="failed")
        unknown = rng.random() < shape.unknown
        if unknown and rng.random() < 0.5:
            return replace(call, outcome="unknown", finish=None)
        answered = self._serve(call)
        if unknown:
            return replace(call, outcome="unknown", finish=None)
        version = answered.version
        if rng.random() >= shape.versions:
            version = None
        elif kind == "delete" and answered.outcome == "ok" and not shape.deletes_tell_version:
            version = rng.choice((0, None))
        elif version is not None:
            self.told.append(version)
        result = answered.result
        if answered.outcome == "ok" and kind in ("incr", "append", "delete") and rng.random() >= shape.results:
            result = None
        return replace(answered, result=result, version=version)

    def _serve(self, call: Operation) -> Operation:
        """Execute a call, as wrongly as the store has it."""
        rng, defect = self.rng, self.shape.defect
        wrong = bool(defect) and rng.random() < 0.3
        if defect == "twice" and self.again and wrong:
            self._execute(self.again.pop())
        now = self.value, self.version
        if defect == "stale" and wrong and call.kind == "get":
            self.value, self.version = rng.choice(self.former)
        elif defect == "split" and wrong:
            self.value, self.version = self.other
        answered = self._execute(call)
        if defect == "split" and wrong:
            self.other = self.value, self.version
        if wrong and (defect in ("split", "lost") or (defect == "stale" and call.kind == "get")):
            self.value, self.version = now
        elif defect == "split" and rng.random() < 0.3:
            self.other = self.value, self.version
        self.again.append(call)
        self.former.append((self.value, self.version))
        return answered

    def _execute(self, call: Operation) -> Operation:
        kind, argument, condition = call.kind, call.argument, call.condition
        before = self.value
        result: bytes | int | bool | None = None
        outcome = "ok"
        effect = False
        after: Value = None
        refused = condition is not None and (
            before != condition if kind == "cas" else condition != (0 if before is None else self.version)
        )
        if kind == "cas" and condition is None:
            refused = before is not None
        if refused:
            outcome, result = "condition-failed", before
        elif kind == "get":
            result = before
        elif kind == "delete":
            result = effect = before is not None
        elif kind == "incr":
            found = number(before)
            assert isinstance(argument, int)
            if found is None:
                outcome, result = "not-an-integer", before
            elif not -(2**63) <= found + argument < 2**63:
                outcome, result = "integer-overflow", before
            else:
                result, effect, after = found + argument, True, b"%d" % (found + argument)
        else:
            assert isinstance(argument, bytes)
            effect, after = True, argument
            if kind == "swap":
                result = before
            if kind == "append":
                after = (before or b"") + argument
                result = len(after)
                if len(after) > self.shape.bytes_max:
                    outcome, result, effect = "value-too-large", before, False
        if effect:
            self.value = after
            self.last += self.rng.randint(1, 3)
            self.version = self.last if after is not None or self.shape.deletes_tell_version else 0
        self.shown.append(self.value)
        return replace(call, outcome=outcome, result=result, version=self.version)

    def _spoil(self, call: Operation) -> Operation:
        rng = self.rng
        what = rng.randrange(6)
        if what == 0:
            shift = rng.choice((-4.0, -2.0, 2.0, 4.0))
            finish = None if call.finish is None else call.finish + shift
            return replace(call, start=call.start + shift, finish=finish)
        if what == 1 and call.finish is not None:
            return replace(call, finish=max(call.start, call.finish - 3))
        if what == 2 and call.version:
            return replace(call, version=max(1, call.version + rng.choice((-2, -1, 1, 2))))
        if what == 3 and isinstance(call.result, int) and call.kind in ("incr", "append"):
            return replace(call, result=call.result + rng.choice((-1, 1)))
        if what == 3 and call.kind == "delete" and isinstance(call.result, bool):
            return replace(call, result=not call.result)
        if call.kind in ("get", "swap") or call.outcome not in ("ok", "failed", "unknown"):
            return replace(call, result=rng.choice(self.shown))
        if isinstance(call.argument, bytes):
            return replace(call, argument=rng.choice([each for each in self.shown if each] or [b"zz"]))
        return call
