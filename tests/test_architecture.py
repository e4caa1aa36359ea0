"""The rules of the code's structure: who may import what, what pure rooms may do, how long files are."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gptdock"
TESTS = ROOT / "tests"

# Test files that may be longer than MOST_LINES, because they are one table of cases: each with its reason.
LONG_TABLES: dict[str, str] = {}
MOST_LINES = 250
MOST_NAME = 79  # characters of a test's name

# A package imports from lines below its own, never from one on the same line.
FLOORS = [
    "__main__",
    "cli",
    "dev",
    "http",
    "routes",
    "admin upstream prompt",
    "ledger",
    "accounts settings",
    "telemetry",
]
FLOORS += ["errors moments near_misses aiohttp_private", "quotas"]
FLOOR = {package: floor for floor, line in enumerate(FLOORS) for package in line.split()}
KEPT_APART = {("upstream", "ledger"), ("prompt", "ledger"), ("routes", "ledger")}  # none may know about charges

# The rooms that may import a library.
OWNERS = {
    "aiobotocore": "ledger.aws",
    "aiohttp": "aiohttp_private.* dev.* http.* upstream.bodies upstream.client upstream.exchange upstream.flow "
    "upstream.probe upstream.refusals upstream.stream",
    "aiohttp.web": "aiohttp_private.server dev.* http.*",
    "botocore": "ledger.aws ledger.dynamo",
    "dotenv": "__main__",
    "moto": "dev.*",
    "orjson": "ledger.dynamo ledger.receipt_items prompt.ask routes.requests telemetry.logs upstream.answers "
    "upstream.loose_json upstream.shapes",
    "prometheus_client": "telemetry.counting telemetry.metrics",
    "tiktoken": "prompt.tokens",
}

# Clocks, logs, randomness, the environment, files: by the names under which they are used.
IMPURE = re.compile(
    r"(time\.\w*time\w*|time\.monotonic\w*|time\.perf_counter\w*|time\.sleep"
    r"|datetime\.(now|today|utcnow)|date\.today|logging\..*|random\..*|secrets\..*|uuid\..*"
    r"|os\.(environ|getenv|urandom).*|open|print|input)"
)


def names() -> list[str]:
    """All modules of the package, as `settings` or `http.relay`."""
    paths = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return sorted(".".join(path.with_suffix("").parts) for path in paths)


def tree(room: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{room.replace('.', '/')}.py").read_text())


def imports(module: ast.Module) -> Iterator[str]:
    """Every import in the module, also within functions; `from a import b` is `a.b`, because b may be a module."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(room: str) -> set[str]:
    """The modules of gptdock that this one imports."""
    ours = {name.removeprefix("gptdock.") for name in imports(tree(room)) if name.startswith("gptdock.")}
    return {name if name in names() else name.rpartition(".")[0] for name in ours}


def package(room: str) -> str:
    return room.partition(".")[0]


def is_pure(room: str) -> bool:
    return (ast.get_docstring(tree(room)) or "").startswith("Pure: ")


def dotted(node: ast.expr) -> str:
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


PURE_LIBRARIES = {"orjson"}  # from bytes to values and back, and no more
PURE = [room for room in names() if is_pure(room)]


@pytest.mark.parametrize("room", names())
def test_imports_point_down_only(room):
    ours = package(room)
    others = {package(other) for other in rooms_imported(room)} - {ours}

    assert [other for other in others if FLOOR[other] <= FLOOR[ours] or (ours, other) in KEPT_APART] == []


@pytest.mark.parametrize("room", ["relay", "passage", "caller", "cost", "overrun", "patience"])
def test_what_relays_an_answer_knows_no_route(room):
    """`ledger` and `upstream` cannot either, being on lower floors: a new route is one room."""
    assert [other for other in rooms_imported(f"http.{room}") if package(other) == "routes"] == []


def test_imports_make_no_circle():
    TopologicalSorter({room: rooms_imported(room) for room in names()}).prepare()


def test_an_init_has_only_a_docstring():
    inits = list(PACKAGE.rglob("__init__.py"))

    assert {path.parent.name for path in inits} - {"gptdock"} == {package(room) for room in names() if "." in room}
    assert all(len(ast.parse(path.read_text()).body) == 1 for path in inits)


@pytest.mark.parametrize("room", names())
def test_each_library_is_imported_only_where_it_belongs(room):
    for name in imports(tree(room)):
        for library, owners in OWNERS.items():
            if f"{name}.".startswith(f"{library}."):
                assert any(fnmatch(room, owner) for owner in owners.split()), f"{room} imports {name}"


def test_rooms_that_decide_are_pure():
    decide = {"settings", "accounts", "errors", "moments", "quotas", "upstream.sse", "upstream.meter", "upstream.retry"}
    decide |= {
        "upstream.format",
        "upstream.masks",
        "upstream.usage",
        "upstream.complaints",
        "upstream.answers",
        "prompt.ask",
    }
    decide |= {room for room in names() if package(room) == "routes"}
    decide |= {"prompt.strict_json", "prompt.images", "admin.report_rows", "admin.import_rows"}
    decide |= {f"ledger.{room}" for room in ("book", "verbs", "lease_state", "requests", "charges", "rates", "periods")}
    decide |= {"ledger.items", "ledger.receipt_items", "ledger.sigv4", "ledger.http_answer"}

    assert decide <= set(PURE)


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_import_the_standard_library_and_each_other(room):
    assert rooms_imported(room) <= set(PURE)
    assert {package(name) for name in imports(tree(room))} <= sys.stdlib_module_names | {"gptdock", *PURE_LIBRARIES}


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_neither_wait_nor_log_nor_read_a_clock(room):
    module = tree(room)

    waits = [node for node in ast.walk(module) if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncWith)]
    used = [dotted(node) for node in ast.walk(module) if isinstance(node, ast.Attribute | ast.Name)]

    assert waits == []
    assert [name for name in [*used, *imports(module)] if IMPURE.fullmatch(name)] == []


def test_no_file_is_long():
    lengths = {room: len((PACKAGE / f"{room.replace('.', '/')}.py").read_text().splitlines()) for room in names()}

    assert {room: length for room, length in lengths.items() if length > MOST_LINES} == {}


def test_no_test_has_a_long_name_and_no_test_file_is_long_but_tables_of_cases():
    texts = {str(path.relative_to(TESTS)): path.read_text() for path in TESTS.rglob("*.py")}
    claims = [name for text in texts.values() for name in re.findall(r"def (test_\w+)", text)]

    assert [name for name in claims if len(name) > MOST_NAME] == []
    assert {name for name, text in texts.items() if len(text.splitlines()) > MOST_LINES} == set(LONG_TABLES)


def test_exceptions_of_any_kind_are_caught_in_three_places_only():
    """Where errors become answers, where settling must go on, and where botocore may raise anything."""
    handlers = [
        room
        for room in names()
        for node in ast.walk(tree(room))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or dotted(node.type) == "Exception")
    ]

    assert handlers == ["http.middlewares", "ledger.aws", "ledger.book_loop"]


def test_every_room_has_a_docstring():
    assert [room for room in names() if not ast.get_docstring(tree(room))] == []


def test_every_package_is_found_and_installed():
    """setuptools finds each folder with an __init__; a list of them was once short of one, and nothing started."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")

    assert setup["options"]["packages"] == "find:"
    assert setup["options.packages.find"]["include"] == "gptdock*"
    assert [path for path in PACKAGE.rglob("*.py") if not (path.parent / "__init__.py").exists()] == []


def test_the_top_level_has_only_known_names():
    visible = {name for name in top_level() if not name.startswith(".")}

    assert visible <= {"gptdock", "tests", "setup.cfg", "pyproject.toml", "supervisor", "Makefile", "README.md"}


def top_level() -> set[str]:
    """The names that git tracks; without git, those that .gitignore does not name."""
    if (ROOT / ".git").exists():
        command = ["git", "-c", "safe.directory=*", "ls-files", "--cached"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {line.partition("/")[0] for line in listed.splitlines()}
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    return {path.name for path in ROOT.iterdir() if not any(fnmatch(path.name, pattern) for pattern in ignored)}
