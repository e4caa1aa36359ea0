"""Pure: every field of a request is metered or refused. Each route has a table of its fields, by name:

    free      cannot raise the bill in tokens
    counted   the model reads it: its text counts as a part of the prompt
    bounded   its cost has a bound, which the note names
    refused   its cost cannot be bounded in advance, or nobody reports it

A field that is not in the table is refused, since OpenAI adds fields that cost. An operator may let fields pass in
spite of the table; these are counted. Null is as absent.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from gptdock.errors import InvalidRequest

TOOLS = ("function", "custom")  # any other runs at the upstream: what it finds is prompt, and it may cost besides
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)  # any other name may be text that belongs in no log


class Field(NamedTuple):
    """How a field is metered. The note of a refused one says why; `values`, if given, are all that it may have."""

    metered: Literal["free", "counted", "bounded", "refused"]
    note: str = ""
    values: tuple[Any, ...] = ()


Table = Mapping[str, Field]


def check(fields: Mapping[str, Any], table: Table, passed: Collection[str] = ()) -> None:
    """Raise InvalidRequest for a field that is refused, not known, or has another value than it may have.

    `passed` are the names that are not looked at.
    """
    for name, value in fields.items():
        if name not in passed:
            _check(name, value, table.get(name))


def check_tools(fields: Mapping[str, Any], passed: Collection[str] = ()) -> None:
    """Raise InvalidRequest unless all `tools` are run by the caller."""
    tools = None if "tools" in passed else fields.get("tools")
    if not isinstance(tools, list | None):
        raise InvalidRequest("tools must be an array.", param="tools")
    for index, tool in enumerate(tools or ()):
        if not isinstance(tool, dict) or tool.get("type") not in TOOLS:
            where = f"tools[{index}]"
            raise InvalidRequest(f"{where} must be a tool of type {' or '.join(TOOLS)}.", param=where)


def counted(table: Table, *others: str) -> tuple[str, ...]:
    """The names of all counted fields except for `others`, which are counted in ways of their own."""
    return tuple(name for name, field in table.items() if field.metered == "counted" and name not in others)


def _check(name: str, value: Any, field: Field | None) -> None:
    if field is None:
        shown = name if _NAME.fullmatch(name) else "body"
        raise InvalidRequest(f"{_shown(name)} is not known to this version of GPTDock.", param=shown)
    if value is None:
        return
    if field.metered == "refused":
        raise InvalidRequest(f"{name} is not supported: {field.note}.", param=name)
    if field.values and not any(_is(value, known) for known in field.values):
        raise InvalidRequest(f"{name} must be {' or '.join(map(json.dumps, field.values))}: {field.note}.", param=name)


def _is(value: object, known: object) -> bool:
    return value == known and isinstance(value, bool) == isinstance(known, bool)  # True equals 1


def _shown(name: str) -> str:
    return name if _NAME.fullmatch(name) else "A field of the body"
