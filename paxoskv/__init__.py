"""paxoskv: a durable key-value store in which every key is its own Paxos register.

    import paxoskv

    async with paxoskv.connect("127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403") as kv:
        await kv.put("greeting", "hello")
        print((await kv.get("greeting")).value)

`paxoskv.sync.connect` is the same without asyncio.
"""

from importlib.metadata import version

from paxoskv.client.client import Client, connect
from paxoskv.client.results import Appended, Counter, Entry, Found, Swapped
from paxoskv.core.errors import (
    BadRequest,
    ClientClosed,
    ConditionFailed,
    ConfigurationError,
    IntegerOverflow,
    NotAnInteger,
    NotANumber,
    NotReached,
    NumberOverflow,
    OutcomeUnknown,
    Overloaded,
    PaxosKVError,
    ProtocolError,
    ShuttingDown,
    StorageError,
    Unavailable,
    ValueTooLarge,
)

__version__ = version("paxoskv")

__all__ = [
    "Appended",
    "BadRequest",
    "Client",
    "ClientClosed",
    "ConditionFailed",
    "ConfigurationError",
    "Counter",
    "Entry",
    "Found",
    "IntegerOverflow",
    "NotANumber",
    "NotAnInteger",
    "NotReached",
    "NumberOverflow",
    "OutcomeUnknown",
    "Overloaded",
    "PaxosKVError",
    "ProtocolError",
    "ShuttingDown",
    "StorageError",
    "Swapped",
    "Unavailable",
    "ValueTooLarge",
    "__version__",
    "connect",
]
