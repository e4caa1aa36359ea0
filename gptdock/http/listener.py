"""Accepts the connections of a listening socket, in the same way on every event loop.

Loops accept by themselves, too, but none as it is needed here. Out of file descriptors, asyncio logs 1,024 tracebacks a
second, and uvloop closes connections without a word. And a drain must serve what was accepted: neither loop tells when
an accepted socket has become a connection, and asyncio forgets it if the server is closed before that.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

log = logging.getLogger(__name__)

BACKLOG = 1024
ACCEPTED_AT_ONCE = 64
PAUSE_SECONDS = 1.0  # after an accept that found no free file descriptor
_NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """The connections of `sock`, each with a protocol of its own, from now on until `close`."""

    def __init__(self, sock: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._sock, self._protocol = sock, protocol
        self._loop = asyncio.get_running_loop()
        self._accepted: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        sock.listen(BACKLOG)  # again, where it listens already
        sock.setblocking(False)
        self._resume()

    async def close(self) -> None:
        """Accept no more, and wait until what was accepted is a connection."""
        self._pause()
        if self._timer:
            self._timer.cancel()
        if self._accepted:
            await asyncio.wait(self._accepted)
        self._sock.close()

    def _resume(self) -> None:
        self._loop.add_reader(self._sock, self._accept)

    def _pause(self) -> None:
        self._loop.remove_reader(self._sock)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _NONE_LEFT:
                    raise
                self._wait_for_a_descriptor(exc)
                return
            task = self._loop.create_task(self._connect(connection))
            self._accepted.add(task)
            task.add_done_callback(self._accepted.discard)

    def _wait_for_a_descriptor(self, exc: OSError) -> None:
        log.error("no connection can be accepted", extra={"fault": str(exc)})
        self._pause()
        self._timer = self._loop.call_later(PAUSE_SECONDS, self._resume)

    async def _connect(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # the caller has left already
            connection.close()
