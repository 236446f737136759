"""Room for what has no number: the gaps between numbered states.

Gap g lies after everything that belongs to state g and before what makes state g + 1. That is where deletes go that
tell no version, what was seen of an absent key, and mutations of unknown outcome whose effect nobody saw. Real time
leaves each of them an interval of gaps, since the latest start up to a gap and the earliest finish after it both only
grow. Where no such interval is open and the next mutation fits the state before it, there is nothing to choose:
whatever else could happen in that gap ends in the same state with less left to explain things with. Elsewhere a set
of configurations walks from gap to gap. A configuration that needs no more unknown mutations than another, and has
explained no less, replaces it.

The walk is tried first with one configuration and a plan, then with a few. What they find is an order, which proves
itself. Only when they find none does it have to be shown that there is none. Most often one gap shows it: the state
before the next mutation is known, and even with every delete and every unknown mutation to be had in it, it cannot be
left, or a sighting cannot be placed in any of its gaps. Otherwise all configurations are followed, from the last state
whose value is beyond doubt and with every unknown mutation still unused, which is the best that anything before can
have left over; and if that is not enough to fail, from the beginning.

`layout` knows before the walk what has to be placed and where it can go, `plan` guesses where to delete, `moves` are
what can happen in one gap, `walk` goes from gap to gap, `proof` shows that there is no way, and `explain` says why.
"""
