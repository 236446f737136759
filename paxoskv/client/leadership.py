"""Having another node lead, in Raft mode."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

from paxoskv.client.client import connect
from paxoskv.client.connection import Connection
from paxoskv.core.address import Address
from paxoskv.core.errors import BadRequest, NotReached, Unavailable

_POLL_S: Final = 0.05
# A node that hangs is not waited for longer than this: the others know who leads.
_STATUS_S_MAX: Final = 1.0
# A leader gives a handover up after its election time-out; it is asked again then.
_AGAIN_S: Final = 1.0


async def transfer_to(target: int, endpoints: str, timeout: float) -> int:
    """Ask whoever leads until node `target` does; the term in which it does. Only in Raft mode.

    Raises Unavailable when it does not in time, in seconds, and BadRequest where it never will.
    """
    client = connect(endpoints, timeout=timeout)
    end = time.monotonic() + timeout
    asked_at = float("-inf")
    why = "no node said that it leads"
    silence = ""
    try:
        while (left := end - time.monotonic()) > 0:
            nodes = await client.status(timeout=min(left, _STATUS_S_MAX))
            leader = _leader(nodes)
            if any([node["up"] for node in nodes]):
                silence = ""
            elif not silence:
                # Of a later one, which had less time, the reason would be that.
                silence = "no node answers: " + "; ".join([node["error"] for node in nodes])
            if leader is not None and leader["node"] == target:
                return int(leader["raft"]["term"])
            if leader is not None and str(target) not in leader["peers"]:
                others = ", ".join(leader["peers"])
                rest = f"the others are {others}" if others else "and there is no other"
                raise BadRequest(f"there is no node {target}; node {leader['node']} leads, {rest}")
            if leader is not None and asked_at + _AGAIN_S <= time.monotonic():
                asked_at = time.monotonic()
                why = f"node {leader['node']} leads and was asked to hand over; node {target} may be too far behind"
                try:
                    await _ask(leader["address"], target, left)
                except BadRequest as error:
                    # Another may lead by now. Whoever it is says the same of what cannot be.
                    why = str(error)
            await asyncio.sleep(_POLL_S)
    finally:
        await client.close()
    raise Unavailable(f"node {target} does not lead after {timeout:g} s: {silence or why}")


def _leader(nodes: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Whoever leads in the latest term, None if nobody does."""
    leading = []
    for node in nodes:
        if node["up"]:
            if "raft" not in node:
                raise BadRequest(f"{node['address']} runs in {node['mode']} mode, in which nobody leads")
            if node["raft"]["role"] == "leader":
                leading.append(node)
    return max(leading, key=lambda node: node["raft"]["term"], default=None)


async def _ask(address: str, target: int, seconds: float) -> None:
    """Raises BadRequest when it refuses. That it is gone is no news: somebody else will lead."""
    host, port = Address.parse(address)
    with contextlib.suppress(TimeoutError, NotReached):
        async with asyncio.timeout(seconds):
            connection = await Connection.open(host, port, seconds, lambda connection, reason: None)
            try:
                await connection.command("raft-transfer", target)
            finally:
                connection.close()
