"""The guide for operators is right: its commands work, and its tables match the code."""

import ast
import json
import logging
import re

import aiohttp
import pytest
from botocore import xform_name
from botocore.session import get_session
from prometheus_client.parser import text_string_to_metric_families

from gptdock.telemetry import logs, metrics
from tests.harness.curl import ADDRESS, ERROR, ask, once_settled, shapes
from tests.harness.documents import OPERATORS, README, ROOT, sources, words_in_backticks
from tests.harness.hostile import connect
from tests.harness.processes import dev, run
from tests.harness.service import QUESTION

OURS = re.compile("gptdock_|gen_ai_")
IN_A_TRANSACTION = {
    "ConditionCheck": "ConditionCheckItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
}
SHIPPED = ["gptdock.conf", "requirements.txt", "grafana.json", "alerts.yml", "umask.conf"]


async def test_the_guide_s_commands_answer_as_it_shows(tmp_path):
    """In order, because each depends on those before it, and after a client's first question."""
    question, _, info, *_ = README.examples()

    async with dev(tmp_path) as running, aiohttp.ClientSession() as session:
        await ask(session, question.command.replace(ADDRESS, running.url))
        await once_settled(session, info.command.replace(ADDRESS, running.url))
        bodies = [await ask(session, each.command.replace(ADDRESS, running.url)) for each in OPERATORS.examples()]

    assert len(bodies) > 4
    for body, each in zip(bodies, OPERATORS.examples(), strict=True):
        assert not ERROR.search(body)
        assert not each.answer or shapes(body.removeprefix("\ufeff")) == shapes(f"{each.answer}\n\n")


async def test_every_command_is_in_the_guide(tmp_path):
    answer = await run("--help", cwd=tmp_path, env={})

    [listed] = re.findall(r"^  \{([a-z,]+)\}$", answer.out, re.MULTILINE)
    assert [words_in_backticks(row[0])[0] for row in OPERATORS.table("## Commands")] == listed.split(",")


def test_every_log_message_of_the_guide_is_logged():
    messages = [message for row in OPERATORS.table("### Logs") for message in words_in_backticks(row[0])]

    assert len(messages) > 8
    assert [each for each in messages if not any(f'"{each}"' in source for source in sources())] == []


def test_every_alert_is_in_the_guide():
    shipped = re.findall(r"^ +- alert: (\w+)$", (ROOT / "supervisor/alerts.yml").read_text(), re.MULTILINE)

    assert [words_in_backticks(row[0]) for row in OPERATORS.table("### Alerts")] == [[name] for name in shipped]


def test_the_permissions_in_the_guide_are_those_that_the_code_needs():
    shown = {action for row in OPERATORS.table("   The credentials need") for action in words_in_backticks(row[2])}

    constants = {node.value for tree in store() for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    operations = get_session().get_service_model("dynamodb").operation_names
    used = {name for name in operations if xform_name(name) in constants} - {"TransactWriteItems"}
    used |= {action for part, action in IN_A_TRANSACTION.items() if part in constants}
    assert {action.removeprefix("dynamodb:") for action in shown if ":" in action} == used


def test_each_policy_allows_the_actions_of_its_row():
    rows = OPERATORS.table("   The credentials need")
    allowed = {}
    for _, path, _ in rows:
        [statement] = json.loads((ROOT / path.strip("`")).read_text())["Statement"]
        allowed[path] = set(statement["Action"])
        assert {arn.rpartition("/")[2] for arn in statement["Resource"]} == {"gptdock_quota", "gptdock_usage"}

    shown = [{word for word in words_in_backticks(actions) if ":" in word} for _, _, actions in rows]
    shown[2] |= shown[0]
    assert list(allowed.values()) == shown


def store() -> list[ast.Module]:
    rooms = ("aws", "store", "scans", "probes", "protection", "moves")
    return [ast.parse((ROOT / f"gptdock/ledger/{room}.py").read_text()) for room in rooms]


@pytest.mark.parametrize("path", [".env.example", *(f"supervisor/{name}" for name in SHIPPED)])
def test_every_shipped_file_is_named_in_the_guide_and_exists(path):
    assert path in OPERATORS.text
    assert (ROOT / path).is_file()


async def test_every_metric_is_in_the_guide_with_its_labels(serve):
    async with serve(openai_models="gpt-4o") as service, service.ask(stream=True) as response:
        await response.read()
    families = [each for each in text_string_to_metric_families(metrics.exposition().decode()) if OURS.match(each.name)]

    exported = {
        each.name + ("_total" if each.type == "counter" else ""): {
            label for sample in each.samples for label in sample.labels if label != "le"
        }
        for each in families
    }
    rows = OPERATORS.table("### Metrics")
    assert {words_in_backticks(name)[0]: set(words_in_backticks(labels)) for name, labels, _ in rows} == exported


async def test_every_field_of_a_request_s_line_is_in_the_guide(service, caplog):
    caplog.set_level(logging.INFO)
    traced = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    for asked in (QUESTION | {"stream": True}, {}):
        async with service.session.post(f"{service.url}/v1/ask", json=asked, headers=traced) as response:
            await response.read()
    async with connect(service) as connection:
        connection.send(b"no HTTP\r\n\r\n")
        await connection.rest()
    await service.ledger.settled()

    lines = [vars(each).keys() for each in caplog.records if each.message == "request ended"]
    fields = set[str]().union(*lines) - logs.STANDARD_FIELDS
    rows = OPERATORS.table("Each request has one line")
    assert {name for row in rows for name in words_in_backticks(row[0])} == fields
