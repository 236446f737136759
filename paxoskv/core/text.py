"""Bytes and values as text, for traces and whatever else people read. Nothing depends on it but those."""


def text(data: bytes) -> str:
    """Bytes for people; those that are no UTF-8 appear as \\xNN."""
    return data.decode(errors="backslashreplace")


def shown(value: bytes | int | None) -> str | int | None:
    """An argument, a condition or an answer, for JSON."""
    return text(value) if isinstance(value, bytes) else value


def words(*parts: bytes | int | str | None) -> str:
    """What there is of the parts, one after the other."""
    return " ".join(str(shown(part)) if not isinstance(part, str) else part for part in parts if part is not None)
