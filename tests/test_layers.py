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
WORLD = {
    "asyncio",
    "time",
    "socket",
    "threading",
    "os",
    "pathlib",
    "sqlite3",
    "subprocess",
    "secrets",
    "uuid",
    "datetime",
}


def files(package: str) -> list[Path]:
    folder = PACKAGE / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{package}.py"]


def imports(path: Path) -> set[str]:
    """Modules that a file imports at run time, by their full names."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports spell the full name"
            assert node.module is not None
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
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
    for path in files(package):
        if path.exists():
            reached = {name.split(".")[0] for name in imports(path)} & WORLD
            assert not reached, f"{path.name} imports {reached}"


def test_nothing_imports_the_commands() -> None:
    for path in PACKAGE.rglob("*.py"):
        if "cli" not in path.parts and path.name != "__main__.py":
            assert not any(name.split(".")[:2] == ["paxoskv", "cli"] for name in imports(path)), path


def test_every_package_has_its_place_in_the_order() -> None:
    there = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert there - {"cli", "__pycache__"} <= set(ALLOWED)
