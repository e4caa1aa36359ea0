"""The paths, recipes and modules in the documents exist, and the map is complete."""

import re

import pytest

from tests.harness.documents import CONTRIBUTING, OPERATORS, README, ROOT, Document, words_in_backticks

OURS = re.compile(r"(gptdock|tests|supervisor|\.github|\.ci)/[\w./-]*|README\.md|setup\.cfg|\.env\.example")
MAP = CONTRIBUTING.table("## The map")


@pytest.mark.parametrize("document", [README, OPERATORS, CONTRIBUTING], ids=str)
def test_every_path_that_a_document_names_exists(document: Document):
    paths = [word for word in words_in_backticks(document.text) if OURS.fullmatch(word)]

    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_part_of_the_tests_in_an_example_exists():
    parts = re.findall(r"\bT=\"?([\w./]+)", CONTRIBUTING.text + (ROOT / "Makefile").read_text())

    assert len(parts) > 2
    assert [part for part in parts if not (ROOT / part).exists()] == []


@pytest.mark.parametrize("subject", ["a setting", "an error", "a route", "a metric"])
def test_every_step_of_a_recipe_names_its_files(subject: str):
    rows = CONTRIBUTING.table(f"### Add {subject}")

    assert len(rows) > 2
    assert [step for step, files, _ in rows if not words_in_backticks(files)] == []


def test_the_map_has_every_module_in_its_package():
    shown = {words_in_backticks(package)[0]: set(words_in_backticks(names)) for package, names, _ in MAP}

    packages = [path.parent for path in (ROOT / "gptdock").rglob("__init__.py")]
    assert shown == {
        f"{package.relative_to(ROOT)}/": {path.stem for path in package.glob("*.py")} - {"__init__"}
        for package in packages
    }


def test_the_rule_of_imports_has_every_package_once():
    [rule] = re.findall(r"^```\n(__main__\n(?s:.*?))^```$", CONTRIBUTING.text, re.MULTILINE)

    named = re.findall(r"\w+", rule)
    packages = {words_in_backticks(package)[0].removeprefix("gptdock/").strip("/") for package, *_ in MAP} - {""}
    top = {name for package, names, _ in MAP if package == "`gptdock/`" for name in words_in_backticks(names)}
    assert sorted(named) == sorted(packages | top)
