"""The OpenAPI document is valid, it is about what we serve, and schemathesis finds nothing that is otherwise."""

import json
import os
import sys
from collections.abc import Mapping
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import web
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from gptdock import errors
from gptdock.dev.script import Script
from gptdock.errors import APIError, QuotaOnHold, RateLimited, Unavailable
from gptdock.http import app, middlewares, openapi
from gptdock.http.payer import PATTERN
from tests.harness.documents import ROOT, told
from tests.harness.processes import PATIENCE_SECONDS, run
from tests.harness.service import sse_data

SCHEMATHESIS = (str(Path(sys.executable).parent / "schemathesis"),)
EXAMPLES = os.environ.get("EXAMPLES", "5")  # that are made for each operation, beside those that cover its schemas
DOCUMENT: dict[str, Any] = json.loads(openapi.text())
COMPONENTS = DOCUMENT["components"]
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if method != "parameters"
}
RAISED = told()


def valid(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether a value is as this schema of the document says."""
    return jsonschema_rs.Draft202012Validator({**schema, "components": COMPONENTS}).is_valid(value)


def schema_of(status: str) -> dict[str, Any]:
    """What the errors of this status look like."""
    schema: dict[str, Any] = COMPONENTS["responses"][status]["content"]["application/json"]["schema"]
    return schema


def codes_of(status: str) -> list[str]:
    """The codes of GPTDock's own errors of this status; where the upstream's are told, there may be others."""
    code: dict[str, Any] = schema_of(status)["allOf"][1]["properties"]["error"]["properties"]["code"]
    return code["anyOf"][0]["enum"] if "anyOf" in code else code["enum"]


async def test_schemathesis_finds_nothing(serve, tmp_path):
    """In a process of its own, with every check that it has: see tests/harness/schemathesis.toml."""
    contract = json.loads(openapi.text())
    for name in openapi.REQUESTS:
        model = "text-embedding-3-small" if name == "EmbeddingRequest" else "gpt-4o-mini"
        contract["components"]["schemas"][name]["properties"]["model"]["enum"] = [model]
    (tmp_path / "openapi.json").write_text(json.dumps(contract))
    config = ["--no-color", "--config-file", str(ROOT / "tests/harness/schemathesis.toml")]
    env = {"PYTHONPATH": str(ROOT)}

    async with serve(
        max_prompt_tokens=10**6,
        openai_embedding_models="text-embedding-3-small",
        reserve_timeout=60,  # a 503 because this machine is busy would be a finding
        connect_timeout=60,
        forget_key="k" * 32,
        lease_seconds=3600,  # forgetting a user looks at every lease; none of hundreds of clients is to be swept then
    ) as service:  # JSON Schema cannot count tokens
        arguments = ["run", "openapi.json", "--url", service.url, "-n", EXAMPLES]
        patience_seconds = 2 * PATIENCE_SECONDS * int(EXAMPLES)
        finished = await run(
            *config, *arguments, cwd=tmp_path, env=env, command=SCHEMATHESIS, patience_seconds=patience_seconds
        )
        charged = sum(record.spent for record in service.openai.journal)

    print(finished.out)  # for `pytest -s`
    assert finished.code == 0
    assert f"Tested: {len(OPERATIONS)}" in finished.out
    assert charged > 0


async def test_the_document_is_served_with_the_key(service):
    async with service.session.get(f"{service.url}/v1/openapi.json") as response:
        assert response.content_type == "application/json"
        assert await response.json() == DOCUMENT


def test_the_document_is_valid():
    OPENAPI_31_VALIDATOR.validate(DOCUMENT)
    jsonschema_rs.meta.validate({"$defs": COMPONENTS["schemas"]})


def test_the_document_has_the_version_of_the_package():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")

    assert DOCUMENT["info"]["version"] == version("gptdock") == setup["metadata"]["version"]


def test_the_document_has_every_route_and_no_other():
    served = [route for route in app.ROUTES + app.ADMIN_ROUTES if isinstance(route, web.RouteDef)]

    assert OPERATIONS.keys() == {(route.method, route.path) for route in served}
    assert len(OPERATIONS) == len(app.ROUTES) + len(app.ADMIN_ROUTES)
    assert [route.path for route in app.PAYER_ROUTES] == [PATTERN + route.path for route in app.OPENAI_ROUTES]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_document_asks_for_the_key_that_opens_the_route(method: str, path: str):
    asked = OPERATIONS[method, path].get("security", DOCUMENT["security"])

    needed = "adminKey" if path.startswith(middlewares.ADMIN) else "preSharedKey"
    assert asked == ([] if (method, path) in middlewares.OPEN else [{needed: []}])


def test_the_document_has_every_error_and_no_other():
    shown = {(int(status), code) for status in COMPONENTS["responses"] if status != "4XX" for code in codes_of(status)}

    assert shown == {(each.status, each.code) for each in RAISED}


@pytest.mark.parametrize("error", sorted(RAISED, key=str))
def test_an_error_matches_its_schema(error: type[APIError]):
    status = str(error.status)

    assert valid(error().to_json("id"), schema_of(status))
    assert ("Retry-After" in COMPONENTS["responses"][status]["headers"]) == issubclass(
        error, Unavailable | RateLimited | QuotaOnHold
    )


def test_every_route_refers_to_the_errors_by_their_status():
    for operation in OPERATIONS.values():
        refused = {status: answer for status, answer in operation["responses"].items() if status != "200"}
        assert refused == {status: {"$ref": f"#/components/responses/{status}"} for status in refused}

    referred = {status for operation in OPERATIONS.values() for status in operation["responses"]}
    assert referred == {"200"} | COMPONENTS["responses"].keys() - {str(errors.MethodNotAllowed.status)}


@pytest.mark.parametrize("status", [400, 404, 413, 415, 418, 422])
def test_a_refusal_in_the_upstream_s_words_matches_its_schema(status: int):
    refused = OPERATIONS["POST", "/v1/chat/completions"]["responses"]
    rejection = errors.Rejected("No.", status=status, code="content_filter")

    named = str(status) if str(status) in refused else "4XX"

    assert named in refused
    assert valid(rejection.to_json("id"), schema_of(named))


async def test_a_stream_that_breaks_off_ends_with_a_valid_error(service):
    service.openai.script = Script(cut="clean_no_done")

    async with service.ask(stream=True) as response:
        *chunks, last = map(json.loads, sse_data(await response.read()))

    assert chunks
    assert all(valid(chunk, COMPONENTS["schemas"]["Chunk"]) for chunk in chunks)
    assert valid(last, schema_of("502"))
