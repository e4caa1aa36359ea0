"""The end of an upstream's connection, as the reader of a body must hear of it."""

import asyncio
from functools import partial

import aiohttp
from aiohttp.client_proto import ResponseHandler


class BodyWatch:
    """Ends the body of an answer when its connection closes; after broken framing aiohttp lets its reader wait."""

    def __init__(self) -> None:
        self._bodies: dict[ResponseHandler, aiohttp.StreamReader] = {}  # the last of each connection

    def watch(self, response: aiohttp.ClientResponse) -> None:
        """End the response's body with ClientPayloadError if its connection closes before the body is complete."""
        protocol = response.connection.protocol if response.connection is not None else None
        if protocol is None or protocol.closed is None:  # the whole body has already come
            return
        if protocol not in self._bodies:
            protocol.closed.add_done_callback(partial(self._closed, protocol))
        self._bodies[protocol] = response.content

    def _closed(self, protocol: ResponseHandler, closed: "asyncio.Future[None]") -> None:
        if not closed.cancelled():
            closed.exception()  # asyncio logs a future whose exception was never retrieved
        content = self._bodies.pop(protocol)
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("The connection was closed."))
