"""What a node decides by itself."""

from paxoskv.server.node import slice_records


def test_a_checkpoint_that_does_not_keep_up_writes_more_at_a_time() -> None:
    """In slices of 128, under a load of new keys on a slow machine, it took longer than the nodes stayed alive, and a
    journal of 8 MB at the most came to 128."""
    normal = slice_records(0, 8 << 20)
    assert slice_records(16 << 20, 8 << 20) == normal
    assert slice_records((16 << 20) + 1, 8 << 20) > 4 * normal
