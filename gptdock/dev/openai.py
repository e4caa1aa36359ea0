"""The simulated OpenAI: a server that answers chat completions as its script says, and keeps a journal.

Whoever has it in his own process sets `script`, queues others with `next`, and waits on the `journal`. From another
process, `PUT /_script` sets the script, `POST /_next` queues one, `POST /_release` releases, `GET /_journal` tells all.
"""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from aiohttp import web

from gptdock.dev.composer import Pieces, compose, prompt_tokens, words
from gptdock.dev.journal import Journal, Record
from gptdock.dev.playback import Playback
from gptdock.dev.script import Script
from gptdock.dev.wire import error_body

_LARGE_BODY_BYTES = 8 * 1024
_MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo")


@asynccontextmanager
async def serve_openai(
    pieces: Pieces = words, script: Script | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator["SimulatedOpenAI"]:
    """A simulated OpenAI for as long as the context is open; `pieces` gives the tokens of a text."""
    server = SimulatedOpenAI(pieces, script or Script())
    try:
        await server.start(host, port)
        yield server
    finally:
        await server.stop()


class SimulatedOpenAI:
    """What its script makes of it.

    `url` is the base URL, `/v1` and all. `requests` counts the completions that were asked for, also those without a
    key or without sense, which are not in the `journal`.
    """

    def __init__(self, pieces: Pieces, script: Script) -> None:
        self.url = ""
        self.requests = 0
        self.journal = Journal()
        self.script = script
        self._pieces = pieces
        self._queue: deque[Script] = deque()
        self._playing: set[Playback] = set()
        self._stopping = False
        # What is still open when it stops may be stalled for ever: nothing is gained by waiting. (0 means no limit.)
        self._runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.01
        )

    async def start(self, host: str, port: int) -> None:
        """Listen; `url` tells where."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=4096).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Break off whatever is still being answered, and stop listening."""
        self._stopping = True
        await self._runner.cleanup()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._runner.server.connections) if self._runner.server else 0

    @property
    def script(self) -> Script:
        """How requests are answered from now on, but for those that `next` has other plans for."""
        return self._script

    @script.setter
    def script(self, script: Script) -> None:
        self._script = script
        self._statuses = deque(script.statuses)

    def next(self, *scripts: Script) -> None:
        """Answer the next requests by these, one each; their `statuses` mean nothing."""
        self._queue.extend(scripts)

    def release(self) -> None:
        """Let every request that has arrived pass its `hold_at`."""
        for playback in self._playing:
            playback.release()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.add_routes(
            [
                web.post("/v1/chat/completions", self._complete),
                web.get("/v1/models", self._list_models),
                web.put("/_script", self._put_script),
                web.post("/_next", self._post_next),
                web.post("/_release", self._post_release),
                web.get("/_journal", self._get_journal),
                web.route("*", "/{path:.*}", self._know_nothing),
            ]
        )
        return application

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if not _has_key(request):
            return _refusal(401)
        body = _parse(await request.read())
        if body is None:
            return _refusal(400)
        script = self._take_script()
        record = await self._record(body, request.content_length)
        playback = Playback(request, script, record, self.journal)
        with self._noting(playback, record):
            return await playback.play(compose(script, record, self._pieces), stream=body.get("stream") is True)
        return web.Response()  # To nobody: the peer has left.

    def _take_script(self) -> Script:
        if self._queue:
            return self._queue.popleft()
        if self._statuses:
            return replace(self._script, status=self._statuses.popleft())
        return self._script

    async def _record(self, body: dict[str, Any], size: int | None) -> Record:
        messages = body["messages"]
        if size is not None and size < _LARGE_BODY_BYTES:
            tokens = prompt_tokens(messages, self._pieces)
        else:
            tokens = await asyncio.to_thread(prompt_tokens, messages, self._pieces)
        return Record(f"chatcmpl-{secrets.token_hex(14)}", str(body.get("model")), body.get("user"), body, tokens)

    @contextmanager
    def _noting(self, playback: Playback, record: Record) -> Iterator[None]:
        self._playing.add(playback)
        self.journal.append(record)
        self.journal.changed()
        try:
            yield
        except asyncio.CancelledError:
            record.aborted = not (record.completed or self._stopping)
            raise
        except ConnectionError:
            # A write that found the connection closed before the cancellation came.
            record.aborted = not (record.completed or self._stopping)
        finally:
            record.open = False
            self._playing.remove(playback)
            self.journal.changed()

    async def _list_models(self, request: web.Request) -> web.Response:
        if not _has_key(request):
            return _refusal(401)
        models = [{"id": name, "object": "model", "created": 1686935002, "owned_by": "system"} for name in _MODELS]
        return web.json_response({"object": "list", "data": models})

    async def _put_script(self, request: web.Request) -> web.Response:
        self.script = Script.from_json(await request.json())
        return web.json_response(self.script.to_json())

    async def _post_next(self, request: web.Request) -> web.Response:
        self.next(Script.from_json(await request.json()))
        return web.json_response({"queued": len(self._queue)})

    async def _post_release(self, request: web.Request) -> web.Response:
        self.release()
        return web.json_response({})

    async def _get_journal(self, request: web.Request) -> web.Response:
        return web.json_response({"requests": self.requests, "journal": [record.to_json() for record in self.journal]})

    async def _know_nothing(self, request: web.Request) -> web.Response:
        return _refusal(404)


def _has_key(request: web.Request) -> bool:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return scheme == "Bearer" and bool(key.strip())


def _parse(data: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(data)
    except ValueError:
        return None
    messages = body.get("messages") if isinstance(body, dict) else None
    is_valid = isinstance(messages, list) and messages and all(isinstance(message, dict) for message in messages)
    return body if is_valid else None


def _refusal(status: int) -> web.Response:
    return web.Response(status=status, body=error_body(status), content_type="application/json")
