"""Which request gets which connection of the HTTP client, where there are more requests than connections."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gptdock.ledger import http_client
from gptdock.ledger.http_answer import Answer
from gptdock.ledger.http_client import HTTPClient
from tests.harness.http_peer import Peer, answer


async def test_requests_at_once_have_a_connection_each_up_to_the_limit(peer: Peer, monkeypatch):
    monkeypatch.setattr(http_client, "CONNECTIONS", 2)
    peer.client = HTTPClient(peer.client.server)
    asked = [peer.send() for _ in range(3)]
    connections = [await peer.accept() for _ in range(2)]

    await connections[0].serve(answer(b"first"))
    await connections[0].serve(answer(b"third"))
    await connections[1].serve(answer(b"second"))

    assert sorted(await asyncio.gather(*asked)) == [b"first", b"second", b"third"]
    assert peer.accepted.empty()


async def test_a_request_cancelled_as_its_turn_comes_leaves_it_to_the_next(peer: Peer, monkeypatch):
    monkeypatch.setattr(http_client, "CONNECTIONS", 1)
    first, second, third = [peer.send() for _ in range(3)]
    connection = await peer.accept()
    when_read(monkeypatch, second.cancel)  # the connection is its own since then, and it has not run
    await connection.serve(answer(b"first"))
    await connection.serve(answer(b"third"))

    assert [await first, await third] == [b"first", b"third"]
    assert second.cancelled()


async def test_a_request_cancelled_after_its_answer_was_read_leaves_its_connection(peer: Peer, monkeypatch):
    monkeypatch.setattr(http_client, "CONNECTIONS", 1)
    first, second = [peer.send() for _ in range(2)]
    connection = await peer.accept()

    when_read(monkeypatch, first.cancel)
    await connection.serve(answer(b"first"))
    await connection.serve(answer(b"second"))

    assert await second == b"second"
    assert first.cancelled()
    assert peer.accepted.empty()


async def test_a_connection_serves_the_next_request_a_turn_after_an_answer(peer: Peer, monkeypatch):
    """Turns take long in a busy process; how many calls it can make is the connections by the turns that each takes."""
    monkeypatch.setattr(http_client, "CONNECTIONS", 1)
    asked = [peer.send() for _ in range(2)]
    connection, ask = await peer.accept(), http_client.Wire.ask
    seen: list[str] = []

    def asking(wire: http_client.Wire, request: bytes) -> Awaitable[Answer]:
        seen.append("asked")
        return ask(wire, request)

    monkeypatch.setattr(http_client.Wire, "ask", asking)
    when_read(monkeypatch, lambda: asyncio.get_running_loop().call_soon(seen.append, "a turn"))
    await connection.serve(answer(b"first"))
    await connection.serve(answer(b"second"))
    await asyncio.gather(*asked)

    assert seen[:2] == ["asked", "a turn"]


def when_read(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do this each time a connection has read something."""
    received = http_client.Wire.data_received

    def acting(wire: http_client.Wire, data: bytes) -> None:
        received(wire, data)
        act()

    monkeypatch.setattr(http_client.Wire, "data_received", acting)
