"""The log as far as it is in memory: what follows `base_index`, up to which the records hold its effects."""

from collections.abc import Iterable, Sequence
from typing import Final

from paxoskv.raft.entry import Entry

# What an entry costs beside its bytes once it is applied: the Entry, its time, the bytes' header, a place in the list.
ENTRY_BYTES: Final = 160


def _size(entries: Iterable[Entry]) -> int:
    return sum([len(entry.encoded) + ENTRY_BYTES for entry in entries])


class Log:
    """Entries with consecutive indexes, the first of which is `base_index + 1`.

    (L1) Terms never decrease along the log. (L2) Nothing up to `committed` is ever truncated.
    """

    def __init__(self) -> None:
        self.base_index = 0
        self.base_term = 0
        self.committed = 0
        self.bytes = 0
        """Size of all entries that are in memory."""
        self.unapplied_bytes = 0
        """Size of those that are not applied yet."""
        self.truncations = 0
        self._entries: list[Entry] = []

    @property
    def last_index(self) -> int:
        return self.base_index + len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.base_term

    def term_at(self, index: int) -> int | None:
        """The term of an entry, None when it is not there, or no longer."""
        offset = index - self.base_index
        if 0 < offset <= len(self._entries):
            return self._entries[offset - 1].term
        return self.base_term if offset == 0 else None

    def at(self, index: int) -> Entry:
        """An entry that is there."""
        assert index > self.base_index
        return self._entries[index - self.base_index - 1]

    def append(self, entry: Entry) -> int:
        """Add one entry at the end; its index."""
        assert entry.term >= self.last_term, "(L1)"
        self._entries.append(entry)
        size = len(entry.encoded) + ENTRY_BYTES
        self.bytes += size
        self.unapplied_bytes += size
        return self.last_index

    def applied(self, index: int) -> None:
        """The effects of the next entry are in the records."""
        self.unapplied_bytes -= len(self.at(index).encoded) + ENTRY_BYTES

    def fits(self, previous_index: int, previous_term: int, entries: Sequence[Entry]) -> bool:
        """Whether these entries, coming after that one, go on from something that is here; dissertation, 3.5."""
        if previous_index >= self.base_index:
            return self.term_at(previous_index) == previous_term
        # The effects of what lies before the base are in the records. It is committed, so whoever leads has the same.
        overlap = self.base_index - previous_index
        return overlap > len(entries) or entries[overlap - 1].term == self.base_term

    def merge(self, previous_index: int, entries: Sequence[Entry]) -> int:
        """Make the log hold `entries` after `previous_index`, where they fit; dissertation, figure 3.1.

        Answers the index of the first entry that was new to it, 0 if none was. What follows the entries stays unless it
        conflicts: it may be newer than a message that came late.
        """
        if previous_index < self.base_index:
            entries = entries[self.base_index - previous_index :]
            previous_index = self.base_index
        assert previous_index <= self.last_index
        for skipped, entry in enumerate(entries):
            index = previous_index + 1 + skipped
            term = self.term_at(index)
            if term == entry.term:
                continue
            if term is not None:
                self.truncate(index)
            for added in entries[skipped:]:
                self.append(added)
            return index
        return 0

    def truncate(self, index: int) -> None:
        """Remove the entries from `index` on."""
        assert index > self.committed, "(L2)"
        offset = index - self.base_index - 1
        size = _size(self._entries[offset:])
        self.bytes -= size
        self.unapplied_bytes -= size
        del self._entries[offset:]
        self.truncations += 1

    def after(self, index: int, bytes_max: int) -> list[Entry]:
        """Entries after `index`: as many as fit `bytes_max`, and one if there is any."""
        start = index - self.base_index
        assert start >= 0
        size = 0
        for end in range(start, len(self._entries)):
            size += len(self._entries[end].encoded)
            if size > bytes_max and end > start:
                return self._entries[start:end]
        return self._entries[start:]

    def last_with_term_up_to(self, index: int, term: int) -> int:
        """The greatest index, at most `index`, whose entry's term is at most `term`.

        Both sides of a mismatch use it, so that each round skips whole terms; dissertation, section 3.5. Where that
        leads beyond what is in memory, some index before the base.
        """
        index = min(index, self.last_index)
        while index >= self.base_index and (self.term_at(index) or 0) > term:
            index -= 1
        return index

    def compact(self, bytes_max: int, up_to: int) -> None:
        """Forget the oldest entries, none beyond `up_to`, until the rest has at most `bytes_max`."""
        count = size = 0
        while self.bytes - size > bytes_max and self.base_index + count < up_to:
            size += len(self._entries[count].encoded) + ENTRY_BYTES
            count += 1
        if count:
            self.base_term = self._entries[count - 1].term
            del self._entries[:count]
            self.bytes -= size
            self.base_index += count

    def rebase(self, index: int, term: int) -> bool:
        """The records hold everything up to `index`. What follows stays if it follows that very entry: answers that."""
        follows = self.term_at(index) == term
        if follows:
            del self._entries[: index - self.base_index]
        else:
            assert index > self.committed, "(L2)"
            self._entries = []
        self.bytes = self.unapplied_bytes = _size(self._entries)
        self.base_index, self.base_term = index, term
        self.committed = max(self.committed, index)
        return follows
