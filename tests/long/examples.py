"""Runs the documents' programs unchanged: `javascript` those in JavaScript, the test suite those in Python.

Both go through the same CLAIMS.
"""

import asyncio
import os
import signal
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import Script
from gptdock.http.caller import PING
from tests.harness.hostile import raw_upstream, read_request
from tests.harness.processes import PATIENCE_SECONDS, Finished, end
from tests.harness.service import Service, make_settings, running, serve_tables

KEY = "dev-key"
ANSWER = "Straße, 東京, 🙂: each word by itself."
PINGED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + PING
    + b'data: {"choices": [{"delta": {"content": "Whole"}}]}\n\n' + PING * 2 + b"data: [DONE]\n\n"
)  # fmt: skip
TWO_EVENTS = b"""HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n\
data: {"choices": [{"delta": {"content": "Half"}}]}

data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}

"""


class Place:
    """Runs programs: writes one to a file with this suffix in `folder`, and runs `command` with the file's path."""

    def __init__(self, folder: Path, suffix: str, *command: str) -> None:
        self._folder, self._suffix, self._command = folder, suffix, command

    @asynccontextmanager
    async def running(self, program: str, url: str, *arguments: str) -> AsyncIterator[Process]:
        """Run the program with GPTDOCK_URL set to `url`; yields its process, and kills it at the end."""
        file = self._folder / f"program{self._suffix}"
        file.write_text(program)
        env = {"PATH": os.environ["PATH"], "GPTDOCK_URL": url}
        process = await asyncio.create_subprocess_exec(
            *self._command, str(file), *arguments, env=env, stdout=PIPE, stderr=PIPE
        )
        try:
            yield process
        finally:
            await end(process)

    async def run(self, program: str, url: str, *arguments: str) -> Finished:
        """Run the program until it ends."""
        async with self.running(program, url, *arguments) as process:
            return await finished(process)


async def finished(process: Process) -> Finished:
    """Wait until the process ends by itself."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def served(openai: SimulatedOpenAI, **settings: object) -> AsyncIterator[Service]:
    """Run GPTDock with the key of `make run`, in front of this simulated OpenAI."""
    async with (
        serve_tables() as dynamodb,
        running(make_settings(dynamodb, openai.url, pre_shared_key=KEY, **settings), openai, key=KEY) as service,
    ):
        yield service


async def shows_the_whole_answer(place: Place, program: str, openai: SimulatedOpenAI) -> None:
    """Also if the first attempt is refused with 429, and GPTDock's retries as well."""
    refusal = Script(status=429, headers={"retry-after-ms": "10"})
    openai.next(refusal, refusal, refusal, Script(answer=ANSWER))
    async with served(openai) as service:
        left = await place.run(program, service.url)

    assert left == (0, f"{ANSWER}\n", "")
    assert [record.status for record in openai.journal] == [429, 429, 429, 200]


async def tells_that_the_quota_is_used_up(place: Place, program: str, openai: SimulatedOpenAI) -> None:
    """And OpenAI is not asked."""
    async with served(openai, default_token_quota=5) as service:
        left = await place.run(program, service.url)

    assert left == (1, "", "Your quota is used up.\n")
    assert openai.requests == 0


async def tells_that_the_quota_is_only_held(place: Place, program: str, openai: SimulatedOpenAI) -> None:
    """Once retries did not help."""
    openai.next(Script(hold_at=1))
    async with served(openai, default_token_quota=1_000) as service:
        async with service.ask(stream=True, client_id="1234", product_id="demo"):
            left = await place.run(program, service.url)
        openai.release()

    assert left == (1, "", "Wait for your other answers.\n")


async def tells_that_an_answer_is_not_whole(place: Place, program: str, openai: SimulatedOpenAI) -> None:
    """And what came before is shown."""
    openai.next(Script(tokens=20, cut="close", cut_at=9))
    async with served(openai) as service:
        left = await place.run(program, service.url)

    assert (left.code, left.err) == (1, "\nThis answer is not whole: The upstream's answer broke off.\n")
    assert left.out
    assert openai.requests == 1


async def stops_openai_when_its_user_leaves(place: Place, program: str, openai: SimulatedOpenAI) -> None:
    """And the client is charged for what came."""
    openai.next(Script(hold_at=9))
    async with served(openai) as service, place.running(program, service.url) as process:
        await openai.journal.sent(9)
        assert process.stdout
        await process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        [record] = await openai.journal.left()
        await finished(process)
        assert await charged(service) >= record.spent > 0


async def charged(service: Service) -> int:
    """The tokens charged to the programs' client, once nothing is held."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (info := await service.info("1234", "demo"))["quota_held"]:
            continue
    return int(info["quota_used"])


async def ignores_pings(place: Place, program: str, _: SimulatedOpenAI) -> None:
    """Before the first event and between others."""
    async with raw_upstream(_answering(PINGED)) as url:
        left = await place.run(program, url.removesuffix("/v1"))

    assert left == (0, "Whole\n", "")


async def does_not_take_a_clean_end_for_a_whole_answer(place: Place, program: str) -> None:
    """A proxy may end a broken stream properly: without `[DONE]` it is not whole."""
    async with raw_upstream(_answering(TWO_EVENTS)) as url:
        left = await place.run(program, url.removesuffix("/v1"))

    assert left == (1, "Half", "\nThis answer is not whole.\n")


def _answering(answer: bytes) -> Callable[[StreamReader, StreamWriter], Awaitable[None]]:
    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()
        writer.close()

    return serve


CLAIMS: tuple[Callable[[Place, str, SimulatedOpenAI], Awaitable[None]], ...] = (
    shows_the_whole_answer,
    tells_that_the_quota_is_used_up,
    tells_that_the_quota_is_only_held,
    tells_that_an_answer_is_not_whole,
    stops_openai_when_its_user_leaves,
    ignores_pings,
)
