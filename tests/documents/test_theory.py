"""The theory in the docstrings of packages names tests and floors that exist."""

import re
from pathlib import Path

import pytest

import gptdock
from tests.harness.documents import CONTRIBUTING, ROOT
from tests.harness.world import GUARDS
from tests.ledger.test_search import RULES
from tests.test_architecture import FLOORS

TEST = re.compile(r"\btest_\w+\b(?!\.py)(?:\[\w+\])?")
THEORIES = [path for path in (ROOT / "gptdock").rglob("__init__.py") if TEST.search(path.read_text())]
LEDGER = (ROOT / "gptdock/ledger/__init__.py").read_text()

# The rules and conditions that `test_search` takes out one by one.
SEARCHED = {f"test_without_a_rule_a_promise_breaks[{rule.__name__.strip('_')}]" for rule in RULES}
SEARCHED |= {f"test_without_a_condition_a_promise_breaks[{guard}]" for guard in GUARDS}


def existing() -> set[str]:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    return {name for text in texts for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)}


@pytest.mark.parametrize("theory", THEORIES, ids=lambda path: path.parent.name)
def test_every_test_that_a_theory_names_exists(theory: Path):
    named = set(TEST.findall(theory.read_text()))

    assert {name.partition("[")[0] for name in named} - existing() == set()
    assert {name for name in named if name.startswith("test_without_a_")} - SEARCHED == set()


def test_the_theory_of_the_ledger_has_every_rule_that_is_searched():
    assert SEARCHED - set(TEST.findall(LEDGER)) == set()


def test_the_map_of_the_package_has_the_floors_of_the_architecture():
    words = [line.replace("|", " ").replace(",", " ").split() for line in FLOORS]

    assert gptdock.__doc__
    lines = [line.replace("|", " ").replace(",", " ").split() for line in gptdock.__doc__.splitlines()]
    assert [line for line in lines if line in words] == words


def test_the_glossaries_have_each_word_once():
    """The ledger's words are in its theory; the document for developers has the others."""
    glossary = LEDGER[LEDGER.index("Glossary\n") :]
    ours = set(re.findall(r"^    ([a-z]+(?: [a-z]+)?)  +", glossary, re.MULTILINE))
    others = {word.strip() for words, _ in CONTRIBUTING.table("## Glossary") for word in words.split(",")}

    assert {"hold", "will", "commit number"} <= ours
    assert ours & others == set()
