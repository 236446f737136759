"""What a node is told: the cluster's file, and its own options."""

import reprlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paxoskv.core.address import Address
from paxoskv.core.engine import MODE_NAMES
from paxoskv.core.errors import ConfigurationError
from paxoskv.core.limits import Limits

NODE_MAX = 255
EPOCH_MAX = 2**63 - 1
KEY_BYTES_CEILING = 65_536
# A counter has as many digits.
VALUE_BYTES_FLOOR = 20
# The longest frame, of a cas with two such values, stays below what framing takes.
VALUE_BYTES_CEILING = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node as the cluster's file has it. `client` and `peer` are where others reach it (advertised), the
    `listen_` ones what it binds, which differ behind NAT, in containers, and for 0.0.0.0."""

    id: int
    client: Address
    peer: Address
    listen_client: Address
    listen_peer: Address
    data: Path


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A cluster.toml."""

    cluster: str
    mode: str
    epoch: int
    limits: Limits
    nodes: dict[int, NodeConfig]
    path: Path

    def node(self, number: int) -> NodeConfig:
        """One node's part. Raises ConfigurationError when it is not in the file."""
        if number not in self.nodes:
            known = ", ".join(map(str, self.nodes))
            raise ConfigurationError(f"{self.path} has no node {number}; it has {known}")
        return self.nodes[number]


@dataclass(slots=True)
class Options:
    """What concerns one process alone."""

    cache_bytes: int = 256 * 1024 * 1024
    journal_bytes: int = 32 * 1024 * 1024
    operations_max: int = 65_536
    log_level: str = "info"
    fault_injection: bool = False
    overrides: dict[str, str] = field(default_factory=dict)
    """Addresses and the data folder, by the names they have in cluster.toml, in place of those."""
    stop_with_stdin: bool = False
    """Stop when standard input ends, which it does with the process that holds its other end."""
    lease_reads: bool = False
    """Raft mode: a leader that a majority has just answered reads without asking again; trusts clocks."""
    trace: Path | None = None
    """Where to write what happens, a file or a folder; None for nowhere."""
    trace_bytes: int = 16 * 1024 * 1024
    """What the trace takes at the most, together with the older half beside it."""


def load(path: Path) -> ClusterConfig:
    """Read a cluster.toml. Raises ConfigurationError with what is wrong and where."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist; `paxoskv cluster --dir DIR` writes one, and docs/operating.md explains it"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; give a cluster.toml that this process may read"
        ) from None
    except (ValueError, RecursionError) as error:
        # Of tomllib itself, and for bytes that are no text, numbers without end, and brackets within brackets.
        raise ConfigurationError(f"{path} is no TOML: {error}; correct it there") from None
    reader = _Reader(path)
    reader.refuse_unknown(document, {"cluster", "mode", "epoch", "limits", "nodes"}, "the file")
    cluster = reader.take(document, "cluster", str, "the file")
    if not cluster.strip():
        raise ConfigurationError(f"{path}: 'cluster' is empty; give the cluster a name of its own")
    if not cluster.isprintable():
        raise ConfigurationError(f"{path}: 'cluster' is {cluster!r}; give a name that can be printed")
    mode = reader.take(document, "mode", str, "the file", "paxos")
    if mode not in MODE_NAMES:
        raise ConfigurationError(f"{path}: mode is {mode!r}; it must be one of {', '.join(MODE_NAMES)}")
    epoch = reader.take(document, "epoch", int, "the file", 1)
    if not 0 < epoch <= EPOCH_MAX:
        raise ConfigurationError(f"{path}: 'epoch' is {epoch}; it begins with 1, and is {EPOCH_MAX} at most")
    table = reader.take(document, "limits", dict, "the file", {})
    reader.refuse_unknown(table, {"key_bytes_max", "value_bytes_max"}, "[limits]")
    default = Limits()
    limits = Limits(
        reader.take(table, "key_bytes_max", int, "[limits]", default.key_bytes_max),
        reader.take(table, "value_bytes_max", int, "[limits]", default.value_bytes_max),
    )
    for name, value, least, most in (
        ("key_bytes_max", limits.key_bytes_max, 1, KEY_BYTES_CEILING),
        ("value_bytes_max", limits.value_bytes_max, VALUE_BYTES_FLOOR, VALUE_BYTES_CEILING),
    ):
        if not least <= value <= most:
            raise ConfigurationError(f"{path}: {name!r} in [limits] is {value}; it may be {least} to {most}")
    nodes = {}
    for entry in reader.take(document, "nodes", list, "the file"):
        node = _node(reader, entry)
        if node.id in nodes:
            raise ConfigurationError(f"{path}: node {node.id} is there twice; give every node an id of its own")
        nodes[node.id] = node
    if not nodes:
        raise ConfigurationError(f"{path}: there are no nodes; write a [[nodes]] table for each")
    taken: dict[Address, str] = {}
    for node in nodes.values():
        for name, address in (("client", node.client), ("peer", node.peer)):
            if address in taken:
                raise ConfigurationError(
                    f"{path}: {taken[address]} and {name} of node {node.id} are both {address}; give each its own"
                )
            taken[address] = f"{name} of node {node.id}"
    return ClusterConfig(cluster, mode, epoch, limits, nodes, path)


def _address(text: str, what: str) -> Address:
    """Raises ConfigurationError, which names `what`."""
    try:
        return Address.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{what} is {text!r}; {error}") from None


# The options of `paxoskv serve`, by what they override.
_OPTIONS = {
    "client": "advertise-client",
    "peer": "advertise-peer",
    "listen_client": "listen-client",
    "listen_peer": "listen-peer",
}


def override(node: NodeConfig, overrides: dict[str, str]) -> NodeConfig:
    """The node with its process's own addresses and folder."""

    def address(name: str, default: Address) -> Address:
        return _address(overrides[name], f"--{_OPTIONS[name]}") if name in overrides else default

    if overrides.get("data") == "":
        # As an unset variable leaves it. It would be the current folder: a new disk under an old id.
        raise ConfigurationError("--data is empty; name the node's folder, or leave the option out")
    return NodeConfig(
        node.id,
        address("client", node.client),
        address("peer", node.peer),
        address("listen_client", node.listen_client),
        address("listen_peer", node.listen_peer),
        Path(overrides["data"]) if "data" in overrides else node.data,
    )


def render(cluster: str, mode: str, nodes: list[tuple[int, str, str, str]]) -> str:
    """The text of a cluster.toml; nodes as (id, client address, peer address, data folder)."""
    lines = [
        "# A paxoskv cluster. Every node reads the same file; docs/operating.md explains each line.",
        f'cluster = "{cluster}"  # nodes of another cluster are refused',
        f'mode = "{mode}"',
        "epoch = 1",
    ]
    for number, client, peer, data in nodes:
        lines += ["", "[[nodes]]", f"id = {number}", f'client = "{client}"', f'peer = "{peer}"', f'data = "{data}"']
    return "\n".join(lines) + "\n"


class _Reader:
    """Takes typed values out of a document and says where one is missing or wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def take(self, table: dict[str, Any], name: str, kind: type, where: str, default: Any = None) -> Any:
        value = table.get(name, default)
        if value is None:
            raise ConfigurationError(f"{self.path}: {where} lacks {name!r}; add {_EXAMPLES[name]}")
        if type(value) is not kind:
            raise ConfigurationError(
                f"{self.path}: {name!r} in {where} is {reprlib.repr(value)}; it must be {_KIND_NAMES[kind]}"
            )
        return value

    def refuse_unknown(self, table: dict[str, Any], known: set[str], where: str) -> None:
        for name in table:
            if name not in known:
                raise ConfigurationError(
                    f"{self.path}: {where} has {name!r}, which nobody knows; it takes {', '.join(sorted(known))}"
                )


_KIND_NAMES = {
    str: "a text in quotes",
    int: "a whole number",
    dict: "a table",
    list: "a list of tables, each under [[nodes]]",
}
_EXAMPLES = {
    "cluster": 'a name of its own, such as cluster = "orders"',
    "nodes": "a [[nodes]] table for each node",
    "id": "a number of its own, such as id = 1",
    "client": 'where clients reach it, such as client = "10.0.0.1:7401"',
    "peer": 'where peers reach it, such as peer = "10.0.0.1:7501"',
}


def _node(reader: _Reader, entry: Any) -> NodeConfig:
    if type(entry) is not dict:
        raise ConfigurationError(f"{reader.path}: {entry!r} is no node; write a [[nodes]] table for each")
    number = reader.take(entry, "id", int, "a [[nodes]] table")
    if not 0 < number <= NODE_MAX:
        raise ConfigurationError(f"{reader.path}: a node has id {number}; ids are 1 to {NODE_MAX}")
    where = f"node {number}"
    reader.refuse_unknown(entry, {"id", "client", "peer", "listen_client", "listen_peer", "data"}, where)

    def address(name: str, default: str | None = None) -> Address:
        return _address(reader.take(entry, name, str, where, default), f"{reader.path}: {name} of {where}")

    client, peer = address("client"), address("peer")
    data = reader.take(entry, "data", str, where, f"node-{number}")
    if not data:
        raise ConfigurationError(f"{reader.path}: 'data' of {where} is empty; name a folder of its own")
    if "\0" in data:
        raise ConfigurationError(f"{reader.path}: 'data' of {where} is {data!r}, which no folder can be called")
    return NodeConfig(
        number,
        client,
        peer,
        address("listen_client", str(client)),
        address("listen_peer", str(peer)),
        reader.path.parent / data,
    )
