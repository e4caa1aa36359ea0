"""The README is right: its commands work, its answers are real, its tables are complete."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import aiohttp

from gptdock.settings import Settings
from tests.harness.curl import ADDRESS, ERROR, ask, once_settled, shapes
from tests.harness.documents import README, ROOT, recipe, told, words_in_backticks
from tests.harness.processes import dev
from tests.harness.service import sse_data

MOST_WORDS = 2_500  # as `wc -w` counts, code included: ten minutes


async def test_make_run_prints_the_readme_s_commands_and_they_work(tmp_path):
    """The first three commands of the README are those that `make run` prints."""
    assert recipe("run") == [".venv/bin/gptdock dev"]

    async with dev(tmp_path) as lines, aiohttp.ClientSession() as session:
        printed = [line for line in lines if line.startswith("curl ")]
        [address] = {address for line in printed for address in re.findall(r"http://[0-9.:]+", line)}
        bodies = await asyncio.gather(*(ask(session, line) for line in printed[:2]))
        bodies += [await once_settled(session, printed[2])]
        others = [each.command.replace(ADDRESS, address) for each in README.examples()[3:]]
        bodies += await asyncio.gather(*(ask(session, command) for command in others))

    commands, answers = zip(*README.examples(), strict=True)
    assert [line.replace(address, ADDRESS) for line in printed] == list(commands[:3])
    [for_openai_s_clients] = [line for line in lines if line.startswith("OpenAI's clients")]
    plain = README.text.replace("\n", " ").replace("`", "")
    assert for_openai_s_clients.replace(address, ADDRESS).rstrip(".") in plain
    for body, answer in zip(bodies, answers, strict=True):
        assert not ERROR.search(body) or ERROR.search(answer)
        assert not answer or shapes(body) == shapes(f"{answer}\n\n")
    assert json.loads(bodies[2]) == json.loads(answers[2])
    assert f"({len(sse_data(bodies[1].encode()))} events" in README.text


def test_the_readme_is_read_in_ten_minutes():
    assert len(README.text.split()) <= MOST_WORDS


def test_ci_runs_the_test_command_of_the_readme():
    commands = (ROOT / ".ci/run").read_text().splitlines()

    assert "```sh\nmake test\n```" in README.text
    assert commands[-2:] == ["make check", "make test"]
    assert recipe("test") == [".venv/bin/pytest -n auto --dist worksteal $(T)"]


def test_every_setting_is_in_the_readme_with_its_default():
    shown = {words_in_backticks(name)[0]: default.strip("`") for name, default, _ in README.table("## Settings")}

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


def test_every_error_is_in_the_readme():
    rows = README.table("### Errors")

    shown = {(int(status), words_in_backticks(code)[0]) for status, code, *_ in rows}
    assert shown == {(each.status, each.code) for each in told()}
