"""The theory of connections and drain, in the docstring of gptdock.http, names tests that exist."""

import re
from pathlib import Path

from gptdock import http

ROOT = Path(__file__).parents[2]


def names_in(pattern: str) -> set[str]:
    """The names of all tests in these files, without their `test_`."""
    return {name for path in ROOT.glob(pattern) for name in re.findall(r"def test_(\w+)\(", path.read_text())}


def test_every_test_that_the_theory_names_exists():
    cited = re.findall(r"\[(?:(tests/\S+\.py): )?([a-z][a-z0-9_,\s]+)\]", http.__doc__ or "")
    names = [(path or "tests/http/*.py", name.strip()) for path, listed in cited for name in listed.split(",")]

    assert len(names) > 20
    assert [(path, name) for path, name in names if name not in names_in(path)] == []
