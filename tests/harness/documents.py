"""Reads the Markdown documents: their tested commands with answers, programs, tables, headings and links."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gptdock import errors
from gptdock.errors import APIError

ROOT = Path(__file__).parents[2]


class Example(NamedTuple):
    """A command marked `sh test`, and the answer that the document shows, `""` if none."""

    command: str
    answer: str


class Document:
    """A Markdown file; `path` is relative to the root of the repository."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = (ROOT / path).read_text()

    def __repr__(self) -> str:
        return self.path

    def examples(self) -> list[Example]:
        """The commands in blocks marked `sh test`, each with the block of JSON or text that follows immediately."""
        block = r"^```sh test\n(.*)\n```\n(?:```(?:json|text)\n((?s:.*?))\n```)?"
        return [Example(match[1], match[2] or "") for match in re.finditer(block, self.text, re.MULTILINE)]

    def programs(self, language: str) -> list[str]:
        """The text of all blocks marked `<language> test`."""
        return re.findall(rf"^```{language} test\n((?s:.*?))^```$", self.text, re.MULTILINE)

    def table(self, heading: str) -> list[list[str]]:
        """The rows, as cells, of the first table below a line that starts with `heading`, without its header."""
        lines = self.text[self.text.index(f"\n{heading}") :].splitlines()
        start = next(number for number, line in enumerate(lines) if line.strip().startswith("|"))
        rows = []
        for line in lines[start + 2 :]:
            if not line.strip().startswith("|"):
                break
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        return rows

    def chapters(self) -> list[str]:
        """The headings of the second level."""
        return [line.removeprefix("## ").replace("`", "") for line in self._headings() if line.startswith("## ")]

    def contents(self) -> list[str]:
        """The titles in the table of contents: the first paragraph that begins with a link within the document."""
        match = re.search(r"^\[[^]]*\]\(#(?s:.*?)\n\n", self.text, re.MULTILINE)
        return re.findall(r"\[(.*?)\]\(#", match[0]) if match else []

    def anchors(self) -> set[str]:
        """The anchors that GitHub makes from the headings."""
        titles = [line.strip("# ").lower() for line in self._headings()]
        return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}

    def links(self) -> list[str]:
        """The targets of all links outside blocks of code."""
        return re.findall(r"\]\(([^)\s]*)\)", self._prose())

    def _headings(self) -> list[str]:
        return [line for line in self._prose().splitlines() if line.startswith("#")]

    def _prose(self) -> str:
        return re.sub(r"^ *```(?s:.*?)^ *```$", "", self.text, flags=re.MULTILINE)


README = Document("README.md")
OPERATORS = Document("supervisor/README.md")
API = Document(".github/API.md")
CLIENTS = Document(".github/CLIENTS.md")
CONTRIBUTING = Document(".github/CONTRIBUTING.md")
CHANGELOG = Document(".github/CHANGELOG.md")
DOCUMENTS = [README, OPERATORS, API, CLIENTS, CONTRIBUTING, CHANGELOG]


def programs(language: str) -> list[str]:
    """The programs in this language marked as tested, of all documents, in their order."""
    return [program for document in DOCUMENTS for program in document.programs(language)]


def words_in_backticks(text: str) -> list[str]:
    """All that the text marks as code."""
    return re.findall(r"`([^`]*)`", text)


def recipe(target: str) -> list[str]:
    """The command lines of a target in the Makefile."""
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert match, target
    return match[1].strip("\n\t").split("\n\t")


def told(error: type[APIError] = APIError) -> set[type[APIError]]:
    """Every class of error that a caller may get."""
    kinds = {error}.union(*(told(kind) for kind in error.__subclasses__()))
    return kinds - {errors.Unavailable}


def sources() -> Iterator[str]:
    """The text of each module of the package."""
    yield from (path.read_text() for path in sorted((ROOT / "gptdock").rglob("*.py")))
