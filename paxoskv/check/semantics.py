"""What each operation does to a key, restated from the documentation and not from the store.

A key holds bytes or is absent. put and swap set it; delete makes it absent; cas sets it if it holds what was expected;
incr adds to the signed 64-bit number that its text is, where an absent key counts as 0; append adds bytes at its end,
where an absent key counts as empty. put and delete may demand a version, 0 standing for absent.
"""

from typing import Final

from paxoskv.check.history import APPEND, CAS, DELETE, INCR, PUT, SWAP, Answer, Argument, Value

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1

REFUSED: Final = object()
"""What `effect` answers where the operation cannot have taken effect, or not with that result."""


def number_of(value: Value) -> int | None:
    """The number that a value stands for: 0 for an absent key, None for what is no signed 64-bit decimal number."""
    if value is None:
        return 0
    if len(value) > 20:
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    # Python also reads what nobody writes: +1, 01, 1_0.
    return number if b"%d" % number == value and INTEGER_MIN <= number <= INTEGER_MAX else None


def text_of(number: int) -> bytes:
    """The value that a number is written as."""
    return b"%d" % number


def effect(
    kind: int, argument: Argument, condition: Argument, result: Answer, told: bool, value: Value, version: int | None
) -> object:
    """The value after a mutation that took effect on `value`, or REFUSED.

    `version` is that of `value`, None if it is not known; a demand for a version above 0 is then refused. `told`:
    `result` is an answer and binds; otherwise nobody was answered.
    """
    if kind == PUT:
        if condition is None or (condition == 0 and value is None) or (condition != 0 and condition == version):
            return argument
        return REFUSED
    if kind == DELETE:
        # A delete that finds nothing has no effect; one whose store does not tell may have found nothing.
        if value is None and not (told and result is None and condition is None):
            return REFUSED
        return None if condition is None or (condition != 0 and condition == version) else REFUSED
    if kind == CAS:
        return argument if value == condition else REFUSED
    if kind == SWAP:
        return REFUSED if told and value != result else argument
    if kind == INCR:
        number = number_of(value)
        if number is None:
            return REFUSED
        assert isinstance(argument, int)
        number += argument
        if not INTEGER_MIN <= number <= INTEGER_MAX or (told and result is not None and result != number):
            return REFUSED
        return text_of(number)
    assert kind == APPEND
    assert isinstance(argument, bytes)
    longer = argument if value is None else value + argument
    return REFUSED if told and result is not None and result != len(longer) else longer
