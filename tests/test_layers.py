"""The import direction of docs/design.md. Determinism rests on it: engines reach no clock, socket, file or thread."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "paxoskv"

# What each package may import of ours, besides itself.
ALLOWED = {
    "core": set(),
    "paxos": {"core"},
    "raft": {"core"},
    "check": set(),
    "wire": {"core", "paxos", "raft"},
    "storage": {"core"},
    "workload": {"core"},
    "trace": {"core"},
    "sim": {"core", "paxos", "raft", "check", "wire", "storage", "workload", "trace"},
    "net": set(),
    "redis": {"core", "net"},
    "server": {"core", "paxos", "raft", "net", "redis", "wire", "storage", "trace"},
    "client": {"core", "wire"},
    "load": {"core", "client", "net"},
    "verify": {"core", "client", "check", "server", "workload", "trace", ""},
    "film": {"core", "check", "sim", "trace", "workload"},
    "demo": {"core", "check", "server", ""},
    "sync": {"client"},
}
# Nothing here may know what time it is, draw by chance unless it was given a generator, or touch the world.
PURE = ("core", "paxos", "raft")
# What may be imported there of others' modules: all of it, or these names.
HARMLESS = {
    *(
        "bisect",
        "collections",
        "dataclasses",
        "functools",
        "heapq",
        "ipaddress",
        "itertools",
        "msgpack",
        "re",
        "struct",
    ),
    *("typing", "zlib"),
}
HARMLESS_NAMES = {"random": {"Random"}, "sys": {"maxsize"}}
# Built in: what reaches the world, runs what nobody has read, or differs from process to process.
WORLDLY = {"open", "input", "print", "breakpoint", "exec", "eval", "compile", "__import__", "hash", "id"}


def files(package: str) -> list[Path]:
    folder = PACKAGE / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{package}.py"]


def running(tree: ast.AST) -> list[ast.AST]:
    """All of a file but what type checkers alone look at."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    return [node for node in ast.walk(tree) if id(node) not in typing_only]


def imports(path: Path) -> set[str]:
    """Modules that a file imports at run time, by their full names."""
    found: set[str] = set()
    for node in running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports spell the full name"
            assert node.module is not None
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def reached(source: str) -> set[str]:
    """What a text reaches of the world, directly."""
    nodes = running(ast.parse(source))
    found: set[str] = set()
    partly: dict[str, str] = {}
    """Modules of which some names are harmless, by what they are called here."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name.split(".")[0]
                if name in HARMLESS_NAMES:
                    partly[alias.asname or name] = name
                elif name not in HARMLESS and name != "paxoskv":
                    found.add(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            name = node.module.split(".")[0]
            if name not in HARMLESS and name != "paxoskv":
                wanted = {alias.name for alias in node.names} - HARMLESS_NAMES.get(name, set())
                found.update(f"{node.module}.{each}" for each in wanted)
    attributes = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Call) and not node.args and ast.unparse(node.func).endswith("Random"):
            found.add("a generator without a seed")
        elif isinstance(node, ast.Name) and node.id in WORLDLY:
            found.add(node.id)
        elif isinstance(node, ast.Name) and node.id in partly:
            # Alone it is the module itself, which can be given to somebody as a generator.
            attribute = attributes.get(id(node), "")
            if attribute not in HARMLESS_NAMES[partly[node.id]]:
                found.add(f"{partly[node.id]}.{attribute}")
    return found


@pytest.mark.parametrize("package", [name for name in ALLOWED if files(name) and files(name)[0].exists()])
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for path in files(package):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "paxoskv":
                continue
            layer = (
                parts[1]
                if len(parts) > 1 and ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists())
                else ""
            )
            assert layer == package or layer in ALLOWED[package], f"{path.name} imports {name}"


@pytest.mark.parametrize("package", PURE)
def test_an_engine_reaches_nothing_of_the_world(package: str) -> None:
    assert len(files(package)) > 5
    for path in files(package):
        assert not reached(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    "source",
    [
        # Clocks.
        "import time",
        "from time import monotonic",
        "import datetime as d",
        "def later():\n    import time",
        # Chance.
        "import random\nrandom.random()",
        "import random\nrandom.choice([1])",
        "import random\nrandom.seed(1)",
        "import random as dice\ndice.random()",
        "import random\npick = random.choice",
        "import random\nrng = random",
        "import random\nEngine(rng=random)",
        "import random\nrandom.SystemRandom(1)",
        "import random\nrandom.Random()",
        "from random import choice",
        "from random import Random\nRandom()",
        "import secrets",
        "import uuid",
        "hash(b'k')",
        "sorted(nodes, key=id)",
        # Files, processes, people.
        "open('x')",
        "with open('x') as file:\n    pass",
        "print('x')",
        "deliver = print",
        "input()",
        "breakpoint()",
        "import os",
        "import os.path",
        "from os import urandom",
        "import pathlib",
        "import io",
        "import shutil",
        "import tempfile",
        "import sqlite3",
        "import logging",
        "import subprocess",
        "import sys\nsys.stdout.write('x')",
        "import sys\nsys.exit()",
        "from sys import argv",
        # Sockets, threads, signals.
        "import socket",
        "import select",
        "import selectors",
        "import signal",
        "import asyncio",
        "import threading",
        "import multiprocessing",
        "import concurrent.futures",
        "import ctypes",
        # Ways around.
        "__import__('time')",
        "import importlib",
        "import builtins",
        "eval('1')",
        "exec('import time')",
    ],
)
def test_what_reaches_the_world_is_noticed(source: str) -> None:
    assert reached(source)


@pytest.mark.parametrize(
    "source",
    [
        "import random\ndef draw(rng: random.Random) -> float:\n    return rng.random()",
        "import random\nrandom.Random(7).random()",
        "from random import Random\nRandom(7)",
        "import sys\nsys.maxsize",
        "from collections.abc import Sequence",
        "from paxoskv.core.operations import Operation",
        "class Link:\n    def open(self) -> None:\n        self.print()\n        self.random.choice()",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio",
    ],
)
def test_what_does_not_is_let_be(source: str) -> None:
    assert not reached(source)


def test_nothing_imports_the_commands() -> None:
    for path in PACKAGE.rglob("*.py"):
        if "cli" not in path.parts and path.name != "__main__.py":
            assert not any(name.split(".")[:2] == ["paxoskv", "cli"] for name in imports(path)), path


def test_every_package_has_its_place_in_the_order() -> None:
    there = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert there - {"cli", "__pycache__"} <= set(ALLOWED)
