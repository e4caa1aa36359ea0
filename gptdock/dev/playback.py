"""Sends one answer of the simulated OpenAI to one peer, as the script says."""

import asyncio
from collections.abc import Iterator
from itertools import islice

from aiohttp import web

from gptdock.dev.journal import Journal, Record
from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.dev.wire import Event, Reply, error_body
from gptdock.http.connections import cut

_EVENT_STREAM, _JSON = "text/event-stream; charset=utf-8", "application/json"


class _CloseDelimited(web.StreamResponse):
    # aiohttp's private switch for websockets: neither Content-Length nor chunks, so the body ends with the connection.
    _length_check = False


class Playback:
    """Plays a script to a peer, and notes in `record` how much was sent."""

    def __init__(self, request: web.Request, script: Script, record: Record, journal: Journal) -> None:
        self._request = request
        self._script = script
        self._record = record
        self._journal = journal
        self._released = asyncio.Event()

    def release(self) -> None:
        """Go on past `hold_at`, now or when it is reached."""
        self._released.set()

    async def play(self, reply: Reply, *, stream: bool) -> web.StreamResponse:
        """Answer the request. Raises CancelledError or ConnectionError when the peer has left."""
        await asyncio.sleep(self._script.head_seconds)
        await self._pause(BEFORE_HEAD)
        if self._script.cut == "before_head":
            self._break()
            return web.Response()
        if self._script.status != 200:
            return self._refuse()
        if self._script.raw is not None:
            return await self._raw(self._script.raw, reply, stream=stream)
        return await (self._stream(reply) if stream else self._whole(reply))

    def _refuse(self) -> web.Response:
        status, raw = self._script.status, self._script.raw
        self._record.status = status
        body = error_body(status, self._script.error) if raw is None else raw
        return web.Response(status=status, body=body, headers=self._headers(_JSON))

    async def _raw(self, raw: bytes, reply: Reply, *, stream: bool) -> web.StreamResponse:
        self._record.generated = self._script.tokens or 0
        events = [Event(piece) for piece in _split(raw, self._script.piece)]
        end = self._end(usual_cut=len(events), count=len(events))
        return await self._send_all(_EVENT_STREAM if stream else _JSON, reply, iter(events), end)

    async def _stream(self, reply: Reply) -> web.StreamResponse:
        usual_cut = reply.before_usage if self._script.cut == "after_finish" else reply.before_end
        end = self._end(usual_cut, count=reply.before_end + 1)
        return await self._send_all(_EVENT_STREAM, reply, reply.events(), end)

    def _end(self, usual_cut: int, count: int) -> int:
        if self._script.error_at is not None:
            return self._script.error_at
        if self._script.cut is None:
            return count
        return usual_cut if self._script.cut_at is None else self._script.cut_at

    async def _send_all(self, content_type: str, reply: Reply, events: Iterator[Event], end: int) -> web.StreamResponse:
        script = self._script
        response = await self._start(content_type)
        for index, event in enumerate(islice(events, end)):
            await self._reach(index, event, response)
            await self._send(event, response)
        # Set before any await: a peer may leave as soon as it has the last event.
        self._record.completed = script.error_at is None and script.cut is None
        await self._reach(end, Event(b""), response)
        if script.error_at is not None:
            await self._send(reply.error_event(script.error, index=end, generated=self._record.generated), response)
        elif script.cut:
            return await self._cut(response, next(events, Event(b"")).data)
        await response.write_eof()
        return response

    async def _whole(self, reply: Reply) -> web.StreamResponse:
        for index, event in enumerate(reply.steps()):
            await self._reach(index, event)
            self._note(event)
            self._note_event()
        self._record.usage = reply.usage
        body = reply.to_json()
        response = await self._start(_JSON, None if self._script.cut == "close_delimited" else len(body))
        if self._script.cut:
            await response.write(body[: len(body) // 2])
            self._break()
            return response
        await response.write(body)
        self._record.completed = True
        return response

    async def _start(self, content_type: str, length: int | None = None) -> web.StreamResponse:
        make = _CloseDelimited if self._script.cut == "close_delimited" else web.StreamResponse
        response = make(headers=self._headers(content_type))
        response.content_length = length
        if self._script.cut == "close_delimited":
            response.force_close()
        await response.prepare(self._request)
        self._record.status = 200
        self._journal.changed()
        return response

    def _headers(self, content_type: str) -> dict[str, str]:
        usual = {"Content-Type": self._script.content_type or content_type, "X-Request-Id": self._record.id}
        return usual | dict(self._script.headers)

    async def _reach(self, index: int, event: Event, response: web.StreamResponse | None = None) -> None:
        seconds = self._script.token_seconds if event.tokens else 0
        # Even a sleep of 0 lets other tasks run, and raises CancelledError here if the peer has left.
        await asyncio.sleep(seconds + (self._script.first_event_seconds if index == 0 else 0))
        await self._pause(index, response)

    async def _pause(self, index: int, response: web.StreamResponse | None = None) -> None:
        if index == self._script.hold_at:
            await self._released.wait()
        if index == self._script.stall_at:
            await self._stall(response)

    async def _stall(self, response: web.StreamResponse | None) -> None:
        if response is None or self._script.comments_every is None:
            await asyncio.Event().wait()
            return
        while True:
            await asyncio.sleep(self._script.comments_every)
            await response.write(b": keep-alive\n\n")

    async def _send(self, event: Event, response: web.StreamResponse) -> None:
        *pieces, last = _split(event.data, self._script.piece)
        for piece in pieces:
            await asyncio.sleep(0)
            await response.write(piece)
        await asyncio.sleep(0)
        self._note(event)  # now, since nobody can read a part of it
        await response.write(last)
        self._note_event()

    def _note(self, event: Event) -> None:
        self._record.generated += event.tokens
        self._record.embedded += event.embedded
        self._record.usage = event.usage if event.usage is not None else self._record.usage

    def _note_event(self) -> None:
        self._record.events += 1
        self._journal.changed()

    async def _cut(self, response: web.StreamResponse, unsent: bytes) -> web.StreamResponse:
        if self._script.cut == "clean_no_done":
            await response.write_eof()
            return response
        if self._script.cut == "mid_chunk" and self._request.transport is not None:
            # Half of an HTTP chunk. Its token is not counted as generated, because no receiver can have read it.
            self._request.transport.write(b"%x\r\n%s" % (len(unsent) + 1, unsent[: len(unsent) // 2]))
        self._break()
        return response

    def _break(self) -> None:
        transport = self._request.transport
        if transport is None:
            return
        if self._script.cut != "rst":
            transport.close()
            return
        cut(transport)


def _split(data: bytes, size: int | None) -> list[bytes]:
    if size is None:
        return [data]
    return [data[start : start + size] for start in range(0, len(data), size)]
