"""For every document: its commands are run, its links lead somewhere, its make targets exist."""

import re

import pytest
from aiohttp import web

from gptdock.http import app
from tests.harness.documents import DOCUMENTS, OPERATORS, README, ROOT, Document, words_in_backticks

TARGETS = set(re.findall(r"^([a-z]+):.* ## \S", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_marked_command_is_read_with_its_answer(document: Document):
    examples = document.examples()

    assert len(examples) == document.text.count("```sh test")
    assert sum(bool(each.answer) for each in examples) == document.text.count("```json") + document.text.count(
        "```text"
    )


def test_documents_have_commands_and_answers_to_run():
    examples = [each for document in DOCUMENTS for each in document.examples()]

    assert len(examples) > 5
    assert sum(bool(each.answer) for each in examples) > 4


def test_every_route_has_its_row():
    """Admin routes in the guide for operators, the others in the README."""
    for document, heading, routes in ((README, "## The API", app.ROUTES), (OPERATORS, "## Admin", app.ADMIN_ROUTES)):
        shown = {word.partition("?")[0] for row in document.table(heading) for word in words_in_backticks(row[0])}
        served = {f"{each.method} {each.path}" for each in routes if isinstance(each, web.RouteDef)}
        assert served == {each for each in shown if not each.endswith("...")}


def test_every_target_that_a_document_names_exists():
    named = {name for each in DOCUMENTS for name in re.findall(r"(?:^|`)make ([a-z]+)", each.text, re.MULTILINE)}

    assert {"run", "test", "check", "install"} <= named
    assert named <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_link_leads_somewhere(document: Document):
    assert document.links()
    assert [link for link in document.links() if not leads_somewhere(document, link)] == []


def leads_somewhere(document: Document, link: str) -> bool:
    if re.match("https?://", link):
        return True
    path, _, anchor = link.partition("#")
    target = (ROOT / document.path).parent / path if path else ROOT / document.path
    if not target.exists():
        return False
    return not anchor or anchor in Document(str(target.resolve().relative_to(ROOT))).anchors()


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if each.contents()], ids=str)
def test_a_table_of_contents_has_all_chapters_in_their_order(document: Document):
    assert document.contents() == document.chapters()
