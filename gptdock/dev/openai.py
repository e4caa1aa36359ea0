"""The simulated OpenAI: a server that answers as its script says, and keeps a journal.

It has chat completions, responses, embeddings and models; each of the first three has its shapes in a module.

In the same process, set `script`, queue scripts with `next`, and wait on `journal`. From another process, use
`PUT /_script`, `POST /_next`, `POST /_release` (releases held answers) and `GET /_journal`.
"""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from aiohttp import web

from gptdock.dev import chat, embeddings, responses
from gptdock.dev.asked import Asked, Pieces
from gptdock.dev.composer import Answer, compose, words
from gptdock.dev.journal import Journal, Record
from gptdock.dev.playback import Playback
from gptdock.dev.script import Script
from gptdock.dev.wire import Reply, error_body, error_of

_LARGE_BODY_BYTES = 8 * 1024
_MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo", "text-embedding-3-small", "text-embedding-3-large")


class Room(NamedTuple):
    """What is particular to a route: how its requests are read, and how an answer looks."""

    id_prefix: str
    read: Callable[[Mapping[str, Any]], Asked | None]
    reply: Callable[[Script, Record, Answer], Reply]


ROOMS = {
    "/v1/chat/completions": Room("chatcmpl-", chat.read, chat.reply),
    "/v1/responses": Room("resp_", responses.read, responses.reply),
    "/v1/embeddings": Room("embd-", embeddings.read, embeddings.reply),
}


@asynccontextmanager
async def serve_openai(
    pieces: Pieces = words, script: Script | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator["SimulatedOpenAI"]:
    """Run a simulated OpenAI while the context is open. `pieces` cuts a text into tokens."""
    server = SimulatedOpenAI(pieces, script or Script())
    try:
        await server.start(host, port)
        yield server
    finally:
        await server.stop()


class SimulatedOpenAI:
    """The server. `url` is the base URL, including `/v1`, once it has started.

    `requests` counts all requests for answers, including those refused for a missing key or a malformed body, which
    are not in the `journal`.
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
        # Open answers may be stalled for ever, so a stop does not wait for them. (0 would mean no limit.)
        self._runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.01
        )

    async def start(self, host: str, port: int) -> None:
        """Listen on `host` and `port` (0: any free port), and set `url`."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=4096).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Stop listening, and break off open answers."""
        self._stopping = True
        await self._runner.cleanup()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._runner.server.connections) if self._runner.server else 0

    @property
    def script(self) -> Script:
        """Answers all requests for which `next` has queued no script. Setting it restarts its `statuses`."""
        return self._script

    @script.setter
    def script(self, script: Script) -> None:
        self._script = script
        self._statuses = deque(script.statuses)

    def next(self, *scripts: Script) -> None:
        """Answer the next requests by these scripts, one each; their `statuses` are ignored."""
        self._queue.extend(scripts)

    def release(self) -> None:
        """Let the answers of all requests that have arrived go on past their `hold_at`."""
        for playback in self._playing:
            playback.release()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.add_routes(
            [
                *(web.post(path, self._answer) for path in ROOMS),
                web.get("/v1/models", self._list_models),
                web.get("/v1/models/{model}", self._show_model),
                web.put("/_script", self._put_script),
                web.post("/_next", self._post_next),
                web.post("/_release", self._post_release),
                web.get("/_journal", self._get_journal),
                web.route("*", "/{path:.*}", self._not_found),
            ]
        )
        return application

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        room = ROOMS[request.path]
        if not _has_key(request):
            return _refusal(401)
        body = _parse(await request.read())
        asked = room.read(body)
        if asked is None:
            return _refusal(400)
        script = self._take_script()
        record = await self._record(room, body, asked, request.content_length)
        playback = Playback(request, script, record, self.journal)
        with self._noting(playback, record):
            reply = room.reply(script, record, compose(script, asked, self._pieces))
            return await playback.play(reply, stream=body.get("stream") is True)
        return web.Response()  # not sent: the peer has left

    def _take_script(self) -> Script:
        if self._queue:
            return self._queue.popleft()
        if self._statuses:
            return replace(self._script, status=self._statuses.popleft())
        return self._script

    async def _record(self, room: Room, body: dict[str, Any], asked: Asked, size: int | None) -> Record:
        if size is not None and size < _LARGE_BODY_BYTES:
            tokens = asked.prompt_tokens(self._pieces)
        else:
            tokens = await asyncio.to_thread(asked.prompt_tokens, self._pieces)
        return Record(
            f"{room.id_prefix}{secrets.token_hex(14)}", str(body.get("model")), body.get("user"), body, tokens
        )

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
            # A write found the connection closed before the handler was cancelled.
            record.aborted = not (record.completed or self._stopping)
        finally:
            record.open = False
            self._playing.remove(playback)
            self.journal.changed()

    async def _list_models(self, request: web.Request) -> web.Response:
        if not _has_key(request):
            return _refusal(401)
        return web.json_response({"object": "list", "data": [_model(name) for name in _MODELS]})

    async def _show_model(self, request: web.Request) -> web.Response:
        if not _has_key(request):
            return _refusal(401)
        name = request.match_info["model"]
        if name not in _MODELS:
            message = f"The model '{name}' does not exist or you do not have access to it."
            error = error_of(404) | {"message": message, "param": "model", "code": "model_not_found"}
            return web.json_response({"error": error}, status=404)
        return web.json_response(_model(name))

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

    async def _not_found(self, request: web.Request) -> web.Response:
        return _refusal(404)


def _has_key(request: web.Request) -> bool:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return scheme == "Bearer" and bool(key.strip())


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1686935002, "owned_by": "system"}


def _parse(data: bytes) -> dict[str, Any]:
    """The object in `data`; an empty one if there is none."""
    try:
        body = json.loads(data)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refusal(status: int) -> web.Response:
    return web.Response(status=status, body=error_body(status), content_type="application/json")
