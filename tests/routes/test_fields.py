"""The tables of fields against OpenAI's own package, API.md, and the OpenAPI document."""

import json
from typing import Any

import pytest
from openai.types import embedding_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from gptdock.errors import SettingsError
from gptdock.http import openapi
from gptdock.routes import chat_fields, embeddings_fields, responses_fields
from gptdock.routes.fields import Table
from gptdock.settings import NEVER_PASSED
from tests.harness.documents import API, words_in_backticks
from tests.harness.service import NOBODY, make_settings

SENT_BY_THE_PACKAGE: dict[str, tuple[Any, ...]] = {
    "/v1/chat/completions": (
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ),
    "/v1/responses": (
        response_create_params.ResponseCreateParamsNonStreaming,
        response_create_params.ResponseCreateParamsStreaming,
    ),
    "/v1/embeddings": (embedding_create_params.EmbeddingCreateParams,),
}
TABLES: dict[str, Table] = {
    "/v1/chat/completions": chat_fields.FIELDS,
    "/v1/responses": responses_fields.FIELDS,
    "/v1/embeddings": embeddings_fields.FIELDS,
}
DOCUMENT: dict[str, Any] = json.loads(openapi.text())
each_route = pytest.mark.parametrize("route", TABLES)


@each_route
def test_every_field_of_openai_s_package_is_in_the_table(route: str):
    """It fails with a version of the package that has new fields: each must be metered or refused."""
    known = set().union(*(kind.__required_keys__ | kind.__optional_keys__ for kind in SENT_BY_THE_PACKAGE[route]))

    assert TABLES[route].keys() == known


@each_route
def test_a_refused_field_says_why(route: str):
    refused = [field for field in TABLES[route].values() if field.metered == "refused" or field.values]

    assert refused or route == "/v1/embeddings"
    assert all(field.note for field in refused)


@each_route
def test_the_page_of_the_api_has_the_table(route: str):
    rows = API.table(f"## `POST {route}`")

    shown = {words_in_backticks(name)[0]: (metered, note) for name, metered, note in rows}
    assert shown == {name: (field.metered, written(field)) for name, field in TABLES[route].items()}


def written(field: Any) -> str:
    values = " or ".join(f"`{json.dumps(value)}`" for value in field.values)
    return ": ".join(part for part in (values, field.note) if part)


@each_route
def test_the_openapi_document_has_the_fields_of_the_table_and_no_other(route: str):
    body = DOCUMENT["paths"][route]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = DOCUMENT["components"]["schemas"][body["$ref"].rpartition("/")[2]]

    shown = {name: field["description"].partition(".")[0].lower() for name, field in schema["properties"].items()}
    assert shown == {name: field.metered for name, field in TABLES[route].items()}
    assert schema["additionalProperties"] is False
    assert schema["properties"].keys() >= set(schema["required"])


@pytest.mark.parametrize("name", sorted(NEVER_PASSED))
def test_a_field_that_decides_what_is_charged_cannot_be_let_pass(name: str):
    with pytest.raises(SettingsError, match="OPENAI_PASS_FIELDS must be different names of fields"):
        make_settings(NOBODY, NOBODY, openai_pass_fields=f"top_k,{name}")
