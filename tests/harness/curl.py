"""The part of curl that the documents' commands use: a machine that runs the tests may not have curl."""

import asyncio
import json
import re
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

import aiohttp

from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import sse_data

ADDRESS = "http://127.0.0.1:5001"  # the address in the documents' commands
ERROR = re.compile(r'^(data: )?{"error"', re.MULTILINE)  # matches an error in an answer, whole or streamed


def _parser() -> ArgumentParser:
    parser = ArgumentParser("curl", exit_on_error=False)  # any other option is an error
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-N", action="store_true")
    parser.add_argument("-X")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d")
    parser.add_argument("url")
    return parser


async def ask(session: aiohttp.ClientSession, command: str) -> str:
    """The body of the answer to this command line; raises ArgumentError for an option that is not supported."""
    name, *arguments = shlex.split(command)
    assert name == "curl"
    parsed: Namespace = _parser().parse_args(arguments)
    headers = {name: value.strip() for name, _, value in (header.partition(":") for header in parsed.H)}
    method = parsed.X or ("GET" if parsed.d is None else "POST")
    headers = {"Content-Type": "application/x-www-form-urlencoded", **headers} if parsed.d else headers
    async with session.request(method, parsed.url, data=parsed.d, headers=headers) as response:
        return await response.text()


async def once_settled(session: aiohttp.ClientSession, command: str) -> str:
    """The answer of a /v1/client/info command once nothing is held: an answer is settled a moment after it was sent."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while json.loads(body := await ask(session, command))["quota_held"]:
            pass
    return body


def shape(value: Any) -> Any:
    """The JSON with each value replaced by its type, to compare answers whose values differ."""
    if isinstance(value, Mapping):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def shapes(body: str) -> list[Any]:
    """The shapes of an answer: of JSON one, of CSV its column names, of a stream those of its events, each once."""
    if not body.startswith(("data: ", "{")):
        return body.splitlines()[:1]  # CSV
    if not body.startswith("data: "):
        return [shape(json.loads(body))]
    seen = [data if data == b"[DONE]" else shape(json.loads(data)) for data in sse_data(body.encode())]
    return [each for number, each in enumerate(seen) if each not in seen[:number]]
