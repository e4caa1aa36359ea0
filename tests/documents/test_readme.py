"""What the README says is so: its commands run, its answers are real, its tables are complete."""

import ast
import asyncio
import json
import logging
import re
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from botocore import xform_name
from botocore.session import get_session
from prometheus_client.parser import text_string_to_metric_families

from gptdock import errors
from gptdock.errors import APIError
from gptdock.settings import Settings
from gptdock.telemetry import logs, metrics
from tests.harness.hostile import connect
from tests.harness.processes import dev, run
from tests.harness.service import sse_data

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:5001"
OURS = re.compile("gptdock_|gen_ai_")
ERROR = re.compile(r'^(data: )?{"error"', re.MULTILINE)
IN_A_TRANSACTION = {"ConditionCheck": "ConditionCheckItem", "Put": "PutItem", "Update": "UpdateItem"}


class Example(NamedTuple):
    """A command that the README has marked for us, and the answer that it shows, if any."""

    command: str
    answer: str


def examples() -> Iterator[Example]:
    for match in re.finditer(r"^```sh test\n(.*)\n```\n(?:```(?:json|text)\n((?s:.*?))\n```)?", README, re.MULTILINE):
        yield Example(match[1], match[2] or "")


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a line that starts with `heading`, without the table's own head."""
    lines = README[README.index(f"\n{heading}") :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip().startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.strip().startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows


def words_in_backticks(text: str) -> list[str]:
    return re.findall(r"`([^`]*)`", text)


def recipe(target: str) -> list[str]:
    """The commands of a target in the Makefile."""
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert match, target
    return match[1].strip("\n\t").split("\n\t")


def curl() -> ArgumentParser:
    """As much of curl as the README uses; any other option is an error. Who runs the tests may have no curl."""
    parser = ArgumentParser("curl", exit_on_error=False)
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-N", action="store_true")
    parser.add_argument("-X")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d")
    parser.add_argument("url")
    return parser


async def ask(session: aiohttp.ClientSession, command: str) -> str:
    """The body that this command line brings."""
    name, *arguments = shlex.split(command)
    assert name == "curl"
    parsed: Namespace = curl().parse_args(arguments)
    headers = {name: value.strip() for name, _, value in (header.partition(":") for header in parsed.H)}
    method = parsed.X or ("GET" if parsed.d is None else "POST")
    headers = {"Content-Type": "application/x-www-form-urlencoded", **headers} if parsed.d else headers
    async with session.request(method, parsed.url, data=parsed.d, headers=headers) as response:
        return await response.text()


def shape(value: Any) -> Any:
    """The names and the kinds of values in JSON, without the values."""
    if isinstance(value, Mapping):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def shapes(body: str) -> list[Any]:
    """The shapes of an answer: one, the names of its columns, or those of a stream's events without repetition."""
    if not body.startswith(("data: ", "{")):
        return body.splitlines()[:1]  # of CSV, its head
    if not body.startswith("data: "):
        return [shape(json.loads(body))]
    seen = [data if data == b"[DONE]" else shape(json.loads(data)) for data in sse_data(body.encode())]
    return [each for number, each in enumerate(seen) if each not in seen[:number]]


async def test_make_run_prints_what_the_readme_shows_and_all_of_it_works(tmp_path):
    """The first three commands of the README are those that are printed."""
    assert recipe("run") == [".venv/bin/gptdock dev"]

    async with dev(tmp_path) as lines, aiohttp.ClientSession() as session:
        printed = [line for line in lines if line.startswith("curl ")]
        [address] = {address for line in printed for address in re.findall(r"http://[0-9.:]+", line)}
        bodies = await asyncio.gather(*(ask(session, line) for line in printed[:2]))
        bodies += [await once_settled(session, printed[2])]
        others = [each.command.replace(ADDRESS, address) for each in list(examples())[3:]]
        bodies += await asyncio.gather(*(ask(session, command) for command in others))

    commands, answers = zip(*examples(), strict=True)
    assert [line.replace(address, ADDRESS) for line in printed] == list(commands[:3])
    [for_openai_s_clients] = [line for line in lines if line.startswith("OpenAI's clients")]
    assert for_openai_s_clients.replace(address, ADDRESS).rstrip(".") in README.replace("\n", " ").replace("`", "")
    for body, answer in zip(bodies, answers, strict=True):
        assert not ERROR.search(body) or ERROR.search(answer)
        assert not answer or shapes(body) == shapes(f"{answer}\n\n")
    assert json.loads(bodies[2]) == json.loads(answers[2])
    assert f"({len(sse_data(bodies[1].encode()))} events" in README


async def once_settled(session: aiohttp.ClientSession, command: str) -> str:
    """What /v1/client/info tells when no question is open: an answer is settled a moment after it was sent."""
    async with asyncio.timeout(10):
        while json.loads(body := await ask(session, command))["quota_held"]:
            pass
    return body


def test_every_answer_in_the_readme_belongs_to_a_command_that_is_run():
    assert len(list(examples())) == README.count("```sh test") > 5
    assert sum(bool(each.answer) for each in examples()) == README.count("```json") + README.count("```text") > 4


def test_ci_runs_the_test_command_of_the_readme():
    commands = (ROOT / ".ci/run").read_text().splitlines()

    assert "```sh\nmake test\n```" in README
    assert commands[-2:] == ["make check", "make test"]
    assert recipe("test") == [".venv/bin/pytest -n auto --dist worksteal"]


def test_every_target_that_the_readme_names_exists():
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))

    assert {"run", "test", "check", "install"} <= targets
    assert targets <= set(re.findall(r"^([a-z]+):.* ## \S", (ROOT / "Makefile").read_text(), re.MULTILINE))


async def test_every_command_is_in_the_readme(tmp_path):
    answer = await run("--help", cwd=tmp_path, env={})

    [listed] = re.findall(r"^  \{([a-z,]+)\}$", answer.out, re.MULTILINE)
    assert [words_in_backticks(row[0])[0] for row in table("## Commands")] == listed.split(",")


def test_the_settings_are_all_in_the_readme_with_their_defaults():
    shown = {words_in_backticks(name)[0]: default.strip("`") for name, default, _ in table("## Settings")}

    assert shown == {each.name.upper(): written_default(each) for each in fields(Settings)}


def written_default(field: Any) -> str:
    if field.default_factory is MISSING:
        return "required"
    default = field.default_factory()
    if isinstance(default, Mapping):
        return json.dumps(dict(default))
    if isinstance(default, float):
        return f"{default:g}"
    return str(default) if default or default == 0 else ""


def test_the_errors_are_all_in_the_readme():
    shown = {(int(status), words_in_backticks(code)[0]) for status, code, _ in table("Errors have the form")}

    raised = {(each.status, each.code) for each in all_kinds(APIError) if each is not errors.Unavailable}
    assert shown == raised


def all_kinds(error: type[APIError]) -> set[type[APIError]]:
    return {error} | {each for kind in error.__subclasses__() for each in all_kinds(kind)}


def test_the_log_messages_of_the_readme_are_logged():
    messages = [message for row in table("**Logs**") for message in words_in_backticks(row[0])]
    sources = [path.read_text() for path in (ROOT / "gptdock").rglob("*.py")]

    assert len(messages) > 8
    assert [each for each in messages if not any(f'"{each}"' in source for source in sources)] == []


def test_the_alerts_are_all_in_the_readme():
    shipped = re.findall(r"^ +- alert: (\w+)$", (ROOT / "supervisor/alerts.yml").read_text(), re.MULTILINE)

    assert [words_in_backticks(row[0]) for row in table("**Alerts**")] == [[name] for name in shipped]


def test_the_actions_on_dynamodb_are_those_that_the_code_uses():
    shown = {action for row in table("   The credentials need") for action in words_in_backticks(row[1])}

    constants = {node.value for tree in store() for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    operations = get_session().get_service_model("dynamodb").operation_names
    used = {name for name in operations if xform_name(name) in constants} - {"TransactWriteItems"}
    used |= {action for part, action in IN_A_TRANSACTION.items() if part in constants}
    assert {action.removeprefix("dynamodb:") for action in shown if ":" in action} == used


def store() -> list[ast.Module]:
    return [ast.parse((ROOT / f"gptdock/ledger/{room}.py").read_text()) for room in ("aws", "store")]


SHIPPED = ["gptdock.conf", "requirements.txt", "grafana.json", "alerts.yml"]


@pytest.mark.parametrize("path", [".env.example", *(f"supervisor/{name}" for name in SHIPPED)])
def test_the_files_that_the_readme_names_are_there(path):
    assert path in README
    assert (ROOT / path).is_file()


def test_links_within_the_readme_lead_somewhere():
    anchors = {re.sub(r"[^a-z0-9 -]", "", line.strip("# ").lower()).replace(" ", "-") for line in headings()}

    links = re.findall(r"\]\(#([^)]*)\)", README)
    assert links
    assert set(links) <= anchors


def test_the_table_of_contents_has_all_chapters_in_their_order():
    [contents] = re.findall(r"^\[Try it\](?s:.*?)\n\n", README, re.MULTILINE)

    chapters = [line.removeprefix("## ").replace("`", "") for line in headings() if line.startswith("## ")]
    assert re.findall(r"\[(.*?)\]\(#", contents) == chapters


def headings() -> list[str]:
    return [line for line in README.splitlines() if line.startswith("#")]


async def test_every_metric_is_in_the_readme_with_its_labels(serve):
    async with serve(openai_models="gpt-4o") as service, service.ask(stream=True) as response:
        await response.read()
    families = [each for each in text_string_to_metric_families(metrics.exposition().decode()) if OURS.match(each.name)]

    exported = {
        each.name + ("_total" if each.type == "counter" else ""): {
            label for sample in each.samples for label in sample.labels if label != "le"
        }
        for each in families
    }
    shown = {words_in_backticks(name)[0]: set(words_in_backticks(labels)) for name, labels, _ in table("**Metrics**")}
    assert shown == exported


async def test_every_field_of_a_request_s_line_is_in_the_readme(service, caplog):
    caplog.set_level(logging.INFO)
    for question in ("Who are you?", ""):
        async with service.ask(question=question, stream=True) as response:
            await response.read()
    async with connect(service) as connection:
        connection.send(b"no HTTP\r\n\r\n")
        await connection.rest()
    await service.ledger.settled()

    lines = [vars(each).keys() for each in caplog.records if each.message == "request ended"]
    fields = set[str]().union(*lines) - logs.STANDARD_FIELDS
    assert {name for row in table("Each request has one line") for name in words_in_backticks(row[0])} == fields
