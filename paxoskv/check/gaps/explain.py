"""Why there is no order, in a sentence: what the walk through gaps, its layout and its proofs end in.

Each raises Violated.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from paxoskv.check.gaps.parts import Loose, UnknownClass
from paxoskv.check.history import CAS, FAILED, PUT, SWAP, Value
from paxoskv.check.normal import NOBODY, Violated
from paxoskv.check.sentences import quote
from paxoskv.check.verdict import WITNESS_OPERATIONS_MAX

if TYPE_CHECKING:
    from paxoskv.check.chain import Chain


def between(chain: "Chain", loose: Loose) -> NoReturn:
    """Two sightings of one state with a delete or an absent key in between."""
    starts, finishes = chain.columns.starts, chain.columns.finishes
    number = chain.numbers[loose.low]
    rows = [row for row in chain.order if chain.versions[row] == number]
    after = next(row for row in rows if starts[row] > loose.finish)
    before = next((row for row in rows if finishes[row] < loose.start), None)
    source = "the key held before the history began" if before is None else f"{chain.say.who(before)} left or found"
    say = chain.say
    raise Violated(
        f"{say.saw(loose.row)}, but {say.saw(after)}, the very state that {source}: in between the key "
        "cannot have been removed.",
        loose.row,
        after,
        *([] if before is None else [before]),
    )


def orphan(chain: "Chain", classes: Sequence[UnknownClass], number: int) -> NoReturn:
    """A state that somebody saw, or demanded, and that nobody can have made."""
    columns, say = chain.columns, chain.say
    if number not in chain.seen:
        row = next(row for row in chain.form.mutations if columns.conditions[row] == number)
        raise Violated(f"{say.saw(row)}, but no operation can have made that version before it.", row)
    row = chain.sighting_of(number)
    value = chain.seen[number]
    witness = [row]
    makers = [each.rows[0] for each in classes if each.can_make(value)]
    failed = [
        each
        for each, outcome in enumerate(columns.outcomes)
        if outcome == FAILED and columns.arguments[each] == value and columns.kinds[each] in (PUT, CAS, SWAP)
    ]
    answered = [
        each
        for each in chain.form.mutations
        if columns.arguments[each] == value and columns.kinds[each] in (PUT, CAS, SWAP)
    ]
    if makers:
        maker = min(makers, key=columns.starts.__getitem__)
        witness.append(maker)
        if columns.starts[maker] > columns.finishes[row]:
            text = f"which {say.who(maker)} wrote, but only later."
        else:
            text = f"which only {say.who(maker)} can have made, and that cannot have happened then."
    elif failed:
        text = f"although {say.who(failed[0])} had certainly failed."
        witness.append(failed[0])
    elif answered and chain.noun == "version":
        text = f"but {say.saw(answered[0])}; nobody made that version."
        witness.append(answered[0])
    else:
        text = "which nobody wrote."
    raise Violated(f"{say.saw(row)}, {text}", *witness)


def link(chain: "Chain", classes: Sequence[UnknownClass], gap: int, contents: list[Value]) -> NoReturn:
    """The next mutation does not fit what the key can have held."""
    say = chain.say
    following = chain.numbers[gap + 1]
    row = chain.writers.get(following, NOBODY)
    if row < 0:
        orphan(chain, classes, following)
    before = chain.maker(gap)
    held = " or ".join(quote(value) for value in contents[:3]) + (" or other values" if len(contents) > 3 else "")
    source = f", left by {say.who(before)}" if before is not None and len(contents) == 1 else ""
    text = say.saw(row)
    witness = [row]
    if following in chain.seen:
        sighting = chain.sighting_of(following)
        text += f" and {say.saw(sighting)}"
        witness.append(sighting)
    if before is not None:
        witness.append(before)
    raise Violated(f"{text}, but the key can only have held {held} just before{source}.", *witness)


def stuck(chain: "Chain", members: Sequence[Loose], loose: Loose) -> NoReturn:
    """A delete found nothing to delete, or a sighting of the absent key nothing that made it absent."""
    say = chain.say
    lower = chain.maker(loose.low)
    upper = chain.maker(loose.high + 1)
    if loose.is_delete:
        text = "there was nothing to remove at any moment at which it can have run"
    else:
        text = "the key held a value all the time"
    if lower is not None:
        text += f": it was set by {say.who(lower)}"
        if upper is not None and upper != lower:
            text += f", later by {say.who(upper)}"
    if not loose.is_delete:
        text += ", and no delete can account for it"
    witness = [row for row in (loose.row, lower, upper) if row is not None]
    rivals = [each.row for each in members if each.is_delete and each.low <= loose.high]
    witness += [row for row in rivals if row not in witness][: WITNESS_OPERATIONS_MAX - len(witness)]
    raise Violated(f"{say.saw(loose.row)}, but {text}.", *witness)
