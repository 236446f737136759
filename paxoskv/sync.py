"""The blocking client: ``paxoskv.sync.connect``, with the same names as ``paxoskv.connect``."""

from paxoskv.client.blocking import BlockingClient, connect

__all__ = ["BlockingClient", "connect"]
