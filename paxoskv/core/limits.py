"""Bounds: those that clients, nodes and peers of one cluster share, and those of one engine."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """All in bytes. Every node of a cluster must run with the same ones."""

    key_bytes_max: int = 1024
    value_bytes_max: int = 1024 * 1024

    @property
    def frame_bytes_max(self) -> int:
        """Length of the longest frame on either port: a cas of two largest values, or a full batch, and room."""
        return 2 * self.value_bytes_max + 1024 * 1024


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much of each thing one engine keeps, past which it refuses, forgets, or goes on in parts.

    Nobody else's business: what is right does not depend on it, and nodes of one cluster may differ in it.
    """

    operations: int = 65_536
    """Of clients, in flight; further ones are refused."""
    backlog_bytes: int = 32 * 1024 * 1024
    """Journaled and not on disk. Past it nothing more is taken: this disk hangs, not others', and memory is finite."""
    parked_messages: int = 1024
    """Of peers, which wait for records from storage; further ones are dropped, as the network might have."""
    loads: int = 65_536
    """Records that storage was asked for and has not brought; while a disk hangs no more are asked for."""
    repairs: int = 65_536
    """Keys that each peer is known to lack; what is not remembered, a later read finds."""
    unapplied_bytes: int = 64 * 1024 * 1024
    """Raft: committed, and waiting for records from storage. Past it nothing more is taken from the leader."""
    lag: int = 1024
    """Raft: entries that a node may be behind. Further behind it refuses its clients' operations, whose answers it
    would see late: they go to another node."""
    page_bytes: int = 256 * 1024
    """Of keys and values in a page of a scan, though never less than one key."""
