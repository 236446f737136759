"""Bounds that clients, nodes and peers of one cluster share."""

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
