"""The house plan: which room may import which, and what each never does."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gptdock"

# Top to bottom, with the floor of the house plan: a room imports only from lines below its own, so there are no cycles.
LINES = [
    (8, "__main__"),
    (8, "cli.commands"),
    (8, "cli.admin"),
    (8, "cli.console"),
    (7, "dev.stack"),
    (7, "dev.dynamodb dev.openai"),
    (7, "dev.composer dev.playback"),
    (7, "dev.journal dev.script dev.wire"),
    (6, "http.app http.server"),
    (5, "http.admin_routes"),
    (5, "http.client_routes http.middlewares http.openai_routes http.ops"),
    (4, "http.relay"),
    (4, "http.bodies http.caller"),
    (3, "http.app_keys"),
    (2, "admin.audit admin.clients http.connections http.gate ledger.holds admin.usage"),
    (2, "ledger.book_loop"),
    (2, "ledger.outbox ledger.sweeper"),
    (1, "ledger.backoff ledger.store telemetry.logs prompt.tokens upstream.client telemetry.watchdog"),
    (1, "ledger.aws upstream.exchange http.openapi upstream.refusals telemetry.request_line"),
    (1, "telemetry.metrics"),
    (0, "prompt.completions"),
    (
        0,
        "prompt.ask prompt.images ledger.items upstream.meter admin.reports upstream.retry settings ledger.lease_state",
    ),
    (0, "ledger.verbs"),
    (0, "ledger.book ledger.charges prompt.strict_json"),
    (0, "accounts ledger.periods upstream.sse"),
    (0, "errors"),
]
HOUSE = {room: line for line, (_, rooms) in enumerate(reversed(LINES)) for room in rooms.split()}
PURE = [room for floor, rooms in LINES if floor == 0 for room in rooms.split()]

ABOUT_HTTP = "dev.* http.*"

# Who may import a library; one that is not here may be imported by no room that is pure.
OWNERS = {
    "aiobotocore": "ledger.aws",
    "aiohttp": f"{ABOUT_HTTP} upstream.exchange upstream.refusals upstream.client",
    "aiohttp.web": ABOUT_HTTP,
    "botocore": "ledger.aws",
    "dotenv": "__main__",
    "moto": "dev.*",
    "prometheus_client": "telemetry.metrics",
    "tiktoken": "prompt.tokens",
}

# A clock, a log, chance, and the process's environment: by the names under which they are used.
IMPURE = re.compile(
    r"(time\.\w*time\w*|time\.monotonic\w*|time\.perf_counter\w*|time\.sleep"
    r"|datetime\.(now|today|utcnow)|date\.today|logging\..*|random\..*|secrets\..*|uuid\..*"
    r"|os\.(environ|getenv|urandom).*|open|print|input)"
)


def names() -> list[str]:
    """All rooms, as `relay` or `dev.stack`."""
    paths = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return sorted(".".join(path.with_suffix("").parts) for path in paths)


def tree(room: str) -> ast.Module:
    return ast.parse(path_of(room).read_text())


def path_of(room: str) -> Path:
    return PACKAGE / f"{room.replace('.', '/')}.py"


def imports(module: ast.Module) -> Iterator[str]:
    """Every module that is imported, wherever: `from a import b` as `a.b`, which may be a module too."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(room: str) -> set[str]:
    """The rooms of ours that this one imports."""
    ours = {name.removeprefix("gptdock.") for name in imports(tree(room)) if name.startswith("gptdock.")}
    return {name if name in HOUSE else name.rpartition(".")[0] for name in ours}


def dotted(node: ast.expr) -> str:
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def test_every_room_has_its_place_in_the_house():
    assert sorted(HOUSE) == names()


def test_a_package_is_only_a_folder():
    assert {path.parent.name for path in PACKAGE.rglob("__init__.py")} == {
        "admin",
        "cli",
        "dev",
        "gptdock",
        "http",
        "ledger",
        "prompt",
        "telemetry",
        "upstream",
    }
    assert all(len(ast.parse(path.read_text()).body) == 1 for path in PACKAGE.rglob("__init__.py"))


@pytest.mark.parametrize("room", names())
def test_imports_point_down_only(room):
    assert [other for other in rooms_imported(room) if HOUSE[other] >= HOUSE[room]] == []


@pytest.mark.parametrize("room", names())
def test_each_library_is_known_where_it_belongs(room):
    for name in imports(tree(room)):
        for library, owners in OWNERS.items():
            if f"{name}.".startswith(f"{library}."):
                assert any(fnmatch(room, owner) for owner in owners.split()), f"{room} imports {name}"


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_import_the_standard_library_and_each_other(room):
    assert rooms_imported(room) <= set(PURE)
    assert {name.partition(".")[0] for name in imports(tree(room))} <= sys.stdlib_module_names | {"gptdock"}


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_neither_wait_nor_log_nor_read_a_clock(room):
    module = tree(room)

    waits = [node for node in ast.walk(module) if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncWith)]
    used = [dotted(node) for node in ast.walk(module) if isinstance(node, ast.Attribute | ast.Name)]

    assert waits == []
    assert [name for name in [*used, *imports(module)] if IMPURE.fullmatch(name)] == []


def test_no_file_is_long():
    lengths = {room: len(path_of(room).read_text().splitlines()) for room in names()}

    assert {room: length for room, length in lengths.items() if length > 250} == {}


def test_only_three_places_catch_everything():
    """Where errors become answers, where settling must go on, and where botocore's parsers raise what they like."""
    handlers = [
        room
        for room in names()
        for node in ast.walk(tree(room))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or dotted(node.type) == "Exception")
    ]

    assert handlers == ["http.middlewares", "ledger.aws", "ledger.book_loop"]


def test_every_room_says_what_lives_in_it():
    assert [room for room in names() if not ast.get_docstring(tree(room))] == []


def test_nothing_else_lies_at_the_top():
    visible = {name for name in top_level() if not name.startswith(".")}

    assert visible <= {"gptdock", "tests", "setup.cfg", "pyproject.toml", "supervisor", "Makefile", "README.md"}


def top_level() -> set[str]:
    """What git tracks; where the tree came without git, whatever no line of .gitignore names."""
    if (ROOT / ".git").exists():
        command = ["git", "-c", "safe.directory=*", "ls-files", "--cached"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {line.partition("/")[0] for line in listed.splitlines()}
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    return {path.name for path in ROOT.iterdir() if not any(fnmatch(path.name, pattern) for pattern in ignored)}
