"""Large linearizable histories, quickly made: for timings.

`python -m check.large OPERATIONS KEYS [CLIENTS]`, in the folder `tests`, writes one as JSON Lines, all keys in turn:

    python -m check.large 10_000_000 1000 | paxoskv check -
"""

import random
import sys
from collections.abc import Iterator

from paxoskv.check.history import CAS, DELETE, GET, INCR, OK, PUT, SWAP, UNKNOWN, Columns, History, Value

STEP_S = 1e-5


def fill(
    columns: Columns,
    operations: int,
    clients: int,
    rng: random.Random,
    *,
    versions: bool,
    deletes: float = 0.0,
    increments: bool = False,
    unknown: float = 0.0,
    number: int = 1,
) -> None:
    """Add operations of many clients on one key: half of them reads, a quarter read-modify-writes.

    Each takes effect at a moment of its own and lasts so long that about half of the clients are busy at any time.
    """
    value: Value = None
    version = 0
    width = clients * STEP_S / 2
    rows = []
    for index in range(operations):
        moment = index * STEP_S
        draw = rng.random()
        argument: bytes | int | None = None
        condition: bytes | None = None
        result: bytes | int | bool | None = None
        effect = True
        if draw < 0.5:
            kind, result, effect = GET, value, False
        elif increments:
            kind, argument = INCR, 1
            result = int(value or b"0") + 1
        elif draw < 0.5 + deletes:
            kind = DELETE
            result = effect = value is not None
        elif draw < 0.75:
            kind, argument = PUT, b"value-%d" % index
        elif draw < 0.875 and value is not None:
            kind, argument, condition = CAS, b"value-%d" % index, value
        else:
            kind, argument, result = SWAP, b"value-%d" % index, value
        happened = True
        outcome = OK
        finish = moment + rng.random() * width
        if unknown and rng.random() < unknown:
            outcome, finish, happened = UNKNOWN, float("inf"), rng.random() < 0.5
        if happened and effect:
            value = b"%d" % result if kind == INCR and isinstance(result, int) else argument  # type: ignore[assignment]
            version += 1
        told = version if versions and outcome == OK else None
        if value is None and told is not None:
            told = 0
        rows.append(
            (
                finish,
                index % clients,
                kind,
                moment - rng.random() * width,
                outcome,
                argument,
                condition,
                result if outcome == OK else None,
                told,
            )
        )
    rows.sort(key=lambda row: row[0] if row[0] < float("inf") else row[3])
    columns.numbers = list(range(number, number + len(rows)))
    columns.finishes = [row[0] for row in rows]
    columns.clients = [row[1] for row in rows]
    columns.kinds = [row[2] for row in rows]
    columns.starts = [row[3] for row in rows]
    columns.outcomes = [row[4] for row in rows]
    columns.arguments = [row[5] for row in rows]
    columns.conditions = [row[6] for row in rows]
    columns.results = [row[7] for row in rows]
    columns.versions = [row[8] for row in rows]


def large_history(operations: int, clients: int, seed: int, *, versions: bool, **options: float) -> History:
    """A history on the key b"k"."""
    history = History()
    columns = history._columns[b"k"] = Columns()
    fill(columns, operations, clients, random.Random(seed), versions=versions, **options)  # type: ignore[arg-type]
    history._size = operations
    return history


def lines(operations: int, keys: int, clients: int, seed: int) -> Iterator[str]:
    """JSON Lines in the order of their effects: half reads, a quarter puts, a quarter read-modify-writes."""
    rng = random.Random(seed)
    draw = rng.random
    values: list[str] = ["null"] * keys
    versions = [0] * keys
    width = clients * STEP_S / 2
    for index in range(operations):
        key, moment, kind = index % keys, index * STEP_S + 1.0, draw()
        value = values[key]
        if kind < 0.5:
            call = f'"kind":"get","result":{value}'
        else:
            written = values[key] = f'"value-{index}"'
            versions[key] += 1
            call = f'"kind":"put","value":{written}'
            if kind >= 0.75:
                call = f'"kind":"swap","value":{written},"result":{value}'
                if kind >= 0.875:
                    call = f'"kind":"cas","expected":{value},"value":{written}'
        start, finish = moment - draw() * width, moment + draw() * width
        yield (
            f'{{"client":{index % clients},"key":"key-{key}",{call},"start":{start:.7f},"finish":{finish:.7f},'
            f'"version":{versions[key]}}}\n'
        )


def main() -> None:
    """Write a history to standard output."""
    operations, keys, clients = (int(each) for each in [*sys.argv[1:], "4096"][:3])
    sys.stdout.writelines(lines(operations, keys, clients, 1))


if __name__ == "__main__":
    main()
