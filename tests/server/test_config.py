"""cluster.toml: what is read from it, and the one sentence for each way of getting it wrong."""

from pathlib import Path

import pytest

from paxoskv.core.address import Address
from paxoskv.core.errors import ConfigurationError
from paxoskv.server import config

GOOD = """
cluster = "orders"
mode = "paxos"
epoch = 3

[limits]
key_bytes_max = 100
value_bytes_max = 2000

[[nodes]]
id = 1
client = "10.0.0.1:7401"
peer = "10.0.0.1:7501"
data = "/var/lib/paxoskv"

[[nodes]]
id = 7
client = "[fe80::1]:7401"
peer = "node-7.example:7501"
listen_client = "0.0.0.0:7401"
listen_peer = "[::]:7501"
"""

NODE = 'id = {}\nclient = "127.0.0.1:{}"\npeer = "127.0.0.1:{}"\n'


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "cluster.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    path = written(folder, text)
    with pytest.raises(ConfigurationError) as refused:
        config.load(path)
    sentence = str(refused.value)
    assert sentence.startswith(str(path)), "it names the file"
    assert "\n" not in sentence
    return sentence.removeprefix(str(path))


def test_everything_is_read(tmp_path: Path) -> None:
    found = config.load(written(tmp_path, GOOD))
    assert (found.cluster, found.mode, found.epoch) == ("orders", "paxos", 3)
    assert (found.limits.key_bytes_max, found.limits.value_bytes_max) == (100, 2000)
    first, second = found.nodes.values()
    assert (first.id, second.id) == (1, 7)
    assert first.client == first.listen_client == Address("10.0.0.1", 7401)
    assert first.data == Path("/var/lib/paxoskv")
    assert second.client == Address("fe80::1", 7401)
    assert str(second.client) == "[fe80::1]:7401"
    assert second.listen_client == Address("0.0.0.0", 7401)
    assert second.listen_peer == Address("::", 7501)
    assert second.data == tmp_path / "node-7", "beside the file, and not wherever the process was started"


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    found = config.load(written(tmp_path, f'cluster = "c"\n[[nodes]]\n{NODE.format(1, 7401, 7501)}'))
    assert (found.mode, found.epoch) == ("paxos", 1)
    assert (found.limits.key_bytes_max, found.limits.value_bytes_max) == (1024, 1024 * 1024)


def test_what_we_write_ourselves_can_be_read(tmp_path: Path) -> None:
    text = config.render("c", "paxos", [(1, "127.0.0.1:1", "127.0.0.1:2", "d"), (2, "127.0.0.1:3", "127.0.0.1:4", "e")])
    found = config.load(written(tmp_path, text))
    assert [(node.id, node.client.port, node.peer.port) for node in found.nodes.values()] == [(1, 1, 2), (2, 3, 4)]


ONE = f"[[nodes]]\n{NODE.format(1, 7401, 7501)}"
TEXT = f'cluster = "c"\n{ONE}'
BAD: dict[str, tuple[str | bytes, str, str]] = {
    "no TOML": ('cluster = "c', "is no TOML", "correct it there"),
    "no UTF-8": (b'cluster = "\xff"', "is no TOML", "correct it there"),
    "nothing at all": ("", "the file lacks 'cluster'", 'such as cluster = "orders"'),
    "no cluster": (ONE, "the file lacks 'cluster'", 'such as cluster = "orders"'),
    "an empty cluster": (f'cluster = ""\n{ONE}', "'cluster' is empty", "give the cluster a name"),
    "a cluster that is a number": (f"cluster = 7\n{ONE}", "'cluster' in the file is 7", "a text in quotes"),
    "no nodes": ('cluster = "c"', "the file lacks 'nodes'", "add a [[nodes]] table for each node"),
    "an empty list of nodes": ('cluster = "c"\nnodes = []', "there are no nodes", "write a [[nodes]] table for each"),
    "one table of nodes": (
        TEXT.replace("[[nodes]]", "[nodes]"),
        "'nodes' in the file is {",
        "under [[",
    ),
    "a list of names": ('cluster = "c"\nnodes = ["a"]', "'a' is no node", "write a [[nodes]] table for each"),
    "an unknown mode": (f'cluster = "c"\nmode = "chaos"\n{ONE}', "mode is 'chaos'", "it must be one of paxos"),
    "an epoch of zero": (f'cluster = "c"\nepoch = 0\n{ONE}', "'epoch' is 0", "it begins with 1"),
    "an epoch past any number": (f'cluster = "c"\nepoch = {2**63}\n{ONE}', "'epoch' is 9223372036854775808", "at most"),
    "an epoch that is true": (f'cluster = "c"\nepoch = true\n{ONE}', "'epoch' in the file is True", "a whole number"),
    "an unknown name": (
        f'clusterr = "c"\n{ONE}',
        "the file has 'clusterr', which nobody knows",
        "it takes cluster, epoch",
    ),
    "an unknown name of a node": (
        TEXT + 'listen = "127.0.0.1:1"\n',
        "node 1 has 'listen', which nobody knows",
        "it takes client, data, id, listen_client",
    ),
    "an unknown limit": (
        TEXT + "[limits]\nkeys = 1\n",
        "[limits] has 'keys', which nobody knows",
        "it takes key_bytes_max, value_bytes_max",
    ),
    "limits that are a number": (
        f'cluster = "c"\nlimits = 7\n{ONE}',
        "'limits' in the file is 7",
        "it must be a table",
    ),
    "keys without length": (
        TEXT + "[limits]\nkey_bytes_max = 0\n",
        "'key_bytes_max' in [limits] is 0",
        "it may be 1 to 65536",
    ),
    "values too long for a frame": (
        TEXT + "[limits]\nvalue_bytes_max = 67108865\n",
        "'value_bytes_max' in [limits] is 67108865",
        "it may be 20 to 67108864",
    ),
    "a node without id": (
        TEXT.replace("id = 1", ""),
        "a [[nodes]] table lacks 'id'",
        "such as id = 1",
    ),
    "a node with id 0": (TEXT.replace("id = 1", "id = 0"), "a node has id 0", "ids are 1 to 255"),
    "a node with id 256": (
        TEXT.replace("id = 1", "id = 256"),
        "a node has id 256",
        "ids are 1 to 255",
    ),
    "a node whose id is text": (
        TEXT.replace("id = 1", "id = '1'"),
        "'id' in a [[nodes]] table is '1'",
        "it must be a whole number",
    ),
    "a node without client": (
        'cluster = "c"\n[[nodes]]\nid = 1\npeer = "127.0.0.1:7501"\n',
        "node 1 lacks 'client'",
        'such as client = "10.0.0.1:7401"',
    ),
    "a node without peer": (
        'cluster = "c"\n[[nodes]]\nid = 1\nclient = "127.0.0.1:7401"\n',
        "node 1 lacks 'peer'",
        'such as peer = "10.0.0.1:7501"',
    ),
    "an address without port": (
        TEXT.replace("127.0.0.1:7401", "127.0.0.1"),
        "client of node 1 is '127.0.0.1'",
        "it must be host:port, such as 127.0.0.1:7401",
    ),
    "a port beyond all": (
        TEXT.replace("127.0.0.1:7501", "127.0.0.1:75010"),
        "peer of node 1 is '127.0.0.1:75010'",
        "it must be host:port, such as 127.0.0.1:7401",
    ),
    **{
        f"an address that is none: {host!r}": (
            TEXT.replace("127.0.0.1:7401", host),
            "client of node 1 is ",
            "it must be host:port, such as 127.0.0.1:7401",
        )
        for host in (
            "a..b:7401",
            "x" * 64 + ":7401",
            "[::1:7401",
            "http://h:7401",
            "h h:7401",
            "127.0.0.1:\u0667\u0664",
        )
    },
    "a cluster of blanks": (TEXT.replace('"c"', '"  "'), "'cluster' is empty", "give the cluster a name"),
    "a cluster of two lines": (TEXT.replace('"c"', '"c\\n"'), "'cluster' is 'c\\n'", "that can be printed"),
    "a folder of no name": (TEXT + 'data = "a\\u0000b"\n', "'data' of node 1 is 'a\\x00b'", "no folder can be called"),
    "an empty folder name": (
        TEXT + 'data = ""\n',
        "'data' of node 1 is empty",
        "name a folder of its own",
    ),
    "one id twice": (
        TEXT + f"[[nodes]]\n{NODE.format(1, 7402, 7502)}",
        "node 1 is there twice",
        "give every node an id of its own",
    ),
    "one address twice": (
        TEXT + f"[[nodes]]\n{NODE.format(2, 7401, 7502)}",
        "client of node 1 and client of node 2 are both 127.0.0.1:7401",
        "give each its own",
    ),
    "clients where peers are": (
        f'cluster = "c"\n[[nodes]]\n{NODE.format(1, 7401, 7401)}',
        "client of node 1 and peer of node 1 are both 127.0.0.1:7401",
        "give each its own",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_one_sentence_with_the_file_and_the_way_out(tmp_path: Path, what: str) -> None:
    text, complaint, way_out = BAD[what]
    sentence = refusal(tmp_path, text)
    assert complaint in sentence
    assert way_out in sentence


def test_a_missing_file_says_who_writes_one(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"cluster\.toml does not exist; `paxoskv cluster --dir DIR` writes one"
    ):
        config.load(tmp_path / "cluster.toml")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        config.load(tmp_path)


def test_an_unknown_node_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no node 2; it has 1, 7"):
        config.load(written(tmp_path, GOOD)).node(2)


def test_overrides_replace_what_the_file_says(tmp_path: Path) -> None:
    node = config.load(written(tmp_path, GOOD)).node(1)
    own = config.override(node, {"listen_client": "0.0.0.0:1", "peer": "outside:2", "data": "/elsewhere"})
    assert own.listen_client == Address("0.0.0.0", 1)
    assert own.peer == Address("outside", 2)
    assert own.data == Path("/elsewhere")
    assert (own.client, own.listen_peer) == (node.client, node.listen_peer)


def test_an_empty_folder_is_not_the_current_one(tmp_path: Path) -> None:
    """As an unset variable leaves the option: it would have been a new disk under an old id."""
    node = config.load(written(tmp_path, GOOD)).node(1)
    with pytest.raises(ConfigurationError, match=r"^--data is empty; name the node's folder"):
        config.override(node, {"data": ""})


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("client", "--advertise-client"),
        ("peer", "--advertise-peer"),
        ("listen_client", "--listen-client"),
        ("listen_peer", "--listen-peer"),
    ],
)
def test_a_bad_override_names_its_option(tmp_path: Path, name: str, option: str) -> None:
    node = config.load(written(tmp_path, GOOD)).node(1)
    with pytest.raises(ConfigurationError, match=f"^{option} is 'here'; it must be host:port"):
        config.override(node, {name: "here"})
