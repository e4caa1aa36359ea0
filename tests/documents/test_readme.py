"""The README is right: its commands work, its answers are real, its tables are complete."""

import asyncio
import json
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


async def test_make_run_prints_the_readme_s_first_command_and_all_work(tmp_path):
    assert recipe("run") == ["@.venv/bin/gptdock dev $(if $(DATA),--data '$(DATA)')"]

    async with dev(tmp_path) as running, aiohttp.ClientSession() as session:
        commands, answers = zip(*README.examples(), strict=True)
        here = [command.replace(ADDRESS, running.url) for command in commands]
        bodies = await asyncio.gather(*(ask(session, command) for command in here[:2]))
        bodies += [await once_settled(session, here[2])]
        bodies += await asyncio.gather(*(ask(session, command) for command in here[3:]))

    assert running.command == here[0]
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
