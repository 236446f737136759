"""Fake nodes to put load on."""

from collections.abc import AsyncIterator, Iterator

import pytest
from client.fake_node import FakeNode, Store, ThreadedNodes, threaded_nodes


@pytest.fixture
async def nodes() -> AsyncIterator[list[FakeNode]]:
    """Two nodes of one cluster."""
    store: Store = {}
    async with FakeNode(store, 1) as first, FakeNode(store, 2) as second:
        yield [first, second]


@pytest.fixture
def threaded() -> Iterator[ThreadedNodes]:
    """Two nodes of one cluster, in a thread."""
    with threaded_nodes(2) as fakes:
        yield fakes
