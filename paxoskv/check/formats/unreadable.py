"""What every reader raises."""


class Unreadable(Exception):
    """A history that cannot be read: in which line, and what was expected there. Line 0: nowhere in particular."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line
        self.message = message
