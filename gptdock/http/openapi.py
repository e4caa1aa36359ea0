"""The OpenAPI document, which describes the whole HTTP contract; fields of OpenAI's routes are from their tables."""

import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gptdock.routes import chat_fields, embeddings_fields, responses_fields
from gptdock.routes.fields import Field, Table

DOCUMENT = Path(__file__).parents[1] / "data" / "openapi.json"
REQUESTS: dict[str, Table] = {  # by the names of their schemas
    "CompletionRequest": chat_fields.FIELDS,
    "ResponseRequest": responses_fields.FIELDS,
    "EmbeddingRequest": embeddings_fields.FIELDS,
}


@cache
def text() -> str:
    """The document as JSON, with the version of the installed package and the tables of fields."""
    document = json.loads(DOCUMENT.read_bytes())
    document["info"]["version"] = version("gptdock")
    for name, table in REQUESTS.items():
        _add_fields(document["components"]["schemas"][name], table)
    return json.dumps(document, ensure_ascii=False)


@cache
def queries() -> dict[str, frozenset[str]]:
    """The names of the query's parameters, by path."""
    document = json.loads(text())
    known = document["components"]["parameters"]
    return {
        path: frozenset(each["name"] for each in _parameters(item, known) if each["in"] == "query")
        for path, item in document["paths"].items()
    }


def _parameters(item: dict[str, Any], known: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operation in item.values():
        own = operation.get("parameters", []) if isinstance(operation, dict) else operation
        for each in own:
            yield known[each["$ref"].rpartition("/")[2]] if "$ref" in each else each


def _add_fields(schema: dict[str, Any], table: Table) -> None:
    described = schema["properties"]
    schema["properties"] = {name: _field(described.get(name, {}), field) for name, field in table.items()}
    schema["additionalProperties"] = False


def _field(schema: dict[str, Any], field: Field) -> dict[str, Any]:
    note = f"{field.note[:1].upper()}{field.note[1:]}." if field.note else ""
    words = " ".join(filter(None, (f"{field.metered.capitalize()}.", note, schema.get("description"))))
    if field.metered == "refused":
        return {"type": "null", "description": words}
    if field.values:
        return {"enum": [*field.values, None], "description": words}
    return {**schema, "description": words}
