"""An upstream that answers once too often on a kept connection: nobody gets what was meant for another."""

import asyncio
import json
import socket

import pytest

from tests.harness.hostile import Fault, fault_of, raw_upstream, read_request
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import sse_data
from tests.harness.upstream_faults import BROKEN, both_ways

pytestmark = pytest.mark.usefixtures("each_flow")

SPURIOUS = {
    "200": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    "408": b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Type: app",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 900\r\n\r\ndata: {}\n\n",
    "junk": b"\x00\x01\x02",
    "a line": b"\r\n",
}
WRONG = SPURIOUS | {
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "html": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>",
    "not json": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n<p/>",
    "no answer": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: 1\n\n",
}


class Upstream:
    """Answers each question with its own words, and sends `spurious` around the answer to the question number `at`."""

    def __init__(
        self, stream: bool, at: int = 0, before: bytes = b"", behind: bytes = b"", pause: bool = False
    ) -> None:
        self.stream, self.at, self.before, self.behind, self.pause = stream, at, before, behind, pause
        self.asked: list[str] = []
        self.go_on = asyncio.Event()
        self.connections: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        while True:
            _, body = await read_request(reader)
            question = json.loads(body)["messages"][-1]["content"]
            self.asked.append(question)
            data = answer(question, stream=self.stream)
            if len(self.asked) == self.at:
                data = await self._around(writer, data)
            writer.write(data)

    async def _around(self, writer: asyncio.StreamWriter, data: bytes) -> bytes:
        if not self.pause:
            return self.before + data + self.behind
        writer.write(self.before)
        await self.go_on.wait()
        return data

    def send(self, data: bytes) -> None:
        """Send this at once on the first connection, which is idle."""
        sock: socket.socket = self.connections[0].get_extra_info("socket")
        with socket.socket(fileno=socket.dup(sock.fileno())) as copy:
            copy.sendall(data)


def answer(question: str, *, stream: bool) -> bytes:
    """The whole HTTP answer to a question: its own words."""
    usage = {"total_tokens": 7, "prompt_tokens": 4, "completion_tokens": 3}
    part = {"delta": {"content": question}} if stream else {"message": {"content": question}}
    content = json.dumps({"choices": [{"index": 0, **part}], "usage": usage}).encode()
    body, kind = (b"data: %b\n\ndata: [DONE]\n\n" % content, "text/event-stream") if stream else (content, "")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind or 'application/json'}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def ask(service, question: str, stream: bool) -> str | Fault:
    """The words that answer this question, or what was said instead."""
    async with service.ask(question=question, stream=stream, client_id=question) as response:
        if response.status != 200:
            return await fault_of(response)
        body = await response.read()
        [choice] = json.loads(sse_data(body)[0] if stream else body)["choices"]
        return choice["delta" if stream else "message"]["content"]


@both_ways
@pytest.mark.parametrize(("kind", "read"), [(kind, True) for kind in SPURIOUS] + [("408", False), ("a line", False)])
async def test_a_connection_that_got_bytes_while_it_was_idle_is_not_used(serve, stream, kind, read):
    upstream = Upstream(stream)
    async with raw_upstream(upstream.serve) as url, serve(openai_base_url=url) as service:
        answers = [await ask(service, "one", stream)]
        upstream.send(SPURIOUS[kind])
        if read:
            await service.info()  # by then aiohttp has it
        answers += [await ask(service, question, stream) for question in ("two", "three")]

    assert answers == upstream.asked == ["one", "two", "three"]
    assert len(upstream.connections) == 2


@both_ways
@pytest.mark.parametrize("kind", ["200", "408", "100", "half a head", "half a body"])
async def test_a_connection_with_bytes_behind_its_answer_is_not_used(serve, stream, kind):
    upstream = Upstream(stream, at=1, behind=SPURIOUS[kind])
    async with raw_upstream(upstream.serve) as url, serve(openai_base_url=url) as service:
        answers = [await ask(service, question, stream) for question in ("one", "two", "three")]

    assert answers == upstream.asked == ["one", "two", "three"]
    assert len(upstream.connections) == 2


@both_ways
@pytest.mark.parametrize("status", ["200", "408"])
async def test_two_answers_to_one_request_are_asked_for_anew(serve, quick, stream, status):
    spurious = answer("one", stream=stream) if status == "200" else SPURIOUS[status]
    upstream = Upstream(stream, at=2, before=spurious)
    async with raw_upstream(upstream.serve) as url, serve(openai_base_url=url) as service:
        answers = [await ask(service, question, stream) for question in ("one", "two", "three")]

    assert answers == ["one", "two", "three"]
    assert upstream.asked == ["one", "two", "two", "three"]


@both_ways
@pytest.mark.parametrize("kind", ["404", "408", "html", "not json", "no answer"])
async def test_a_connection_whose_answer_was_not_right_is_not_used(serve, quick, stream, kind):
    """The right answer may still be under way, and must not answer the next request."""
    upstream = Upstream(stream, at=2, before=WRONG[kind], pause=True)
    async with raw_upstream(upstream.serve) as url, serve(openai_base_url=url) as service:
        async with asyncio.timeout(PATIENCE_SECONDS):
            answers = [await ask(service, question, stream) for question in ("one", "two", "three")]
        upstream.go_on.set()
        answers += [await ask(service, "four", stream)]

    assert answers == ["one", "two" if kind == "408" else BROKEN, "three", "four"]
    assert len(upstream.connections) == 2
