"""The HTTP client against a server whose every byte a test decides."""

import asyncio
import os
import socket
import ssl

import pytest

from gptdock.ledger import http_client
from gptdock.ledger.http_answer import BrokenAnswer
from gptdock.ledger.http_client import HTTPClient, Server
from tests.harness.hostile import bound_socket, read_request, url_of
from tests.harness.http_peer import REQUEST, Accepted, Peer, answer


async def served_once(peer: Peer, data: bytes) -> Accepted:
    """The server's end, after it answered one request with `data`."""
    asked = peer.send()
    connection = await peer.accept()
    await connection.serve(data)
    assert await asked == b"first"
    return connection


async def test_a_connection_serves_one_request_after_the_other(peer: Peer):
    connection = await served_once(peer, answer(b"first"))

    asked = peer.send()
    await connection.serve(answer(b"second"))

    assert await asked == b"second"
    assert peer.accepted.empty()


@pytest.mark.parametrize("data", [answer(b"first", "Connection: close"), answer(b"first") + answer(b"nobody's")])
async def test_a_connection_that_ends_or_says_more_serves_no_other_request(peer: Peer, data):
    connection = await served_once(peer, data)
    await connection.ended()

    asked = peer.send()
    await (await peer.accept()).serve(answer(b"second"))

    assert await asked == b"second"


@pytest.mark.parametrize("guarded", [True, False])
async def test_an_answer_that_nobody_asked_for_is_never_the_next_one_s(peer: Peer, monkeypatch, guarded):
    """It lies in the kernel, and the loop has not seen it, when the next request wants a connection."""
    connection = await served_once(peer, answer(b"first"))
    if not guarded:
        monkeypatch.setattr(http_client.Wire, "usable", True)

    os.write(connection.writer.get_extra_info("socket").fileno(), answer(b"nobody's"))
    peer.tasks.append(asyncio.create_task(serve_next(peer, b"second")))

    assert await peer.body() == (b"second" if guarded else b"nobody's")


async def serve_next(peer: Peer, body: bytes) -> bytes:
    """Answer the first request on the next connection."""
    await (await peer.accept()).serve(answer(body))
    return body


async def test_bytes_that_nobody_asked_for_end_their_connection_at_once(peer: Peer):
    connection = await served_once(peer, answer(b"first"))
    connection.writer.write(answer(b"nobody's"))
    await connection.ended()

    # One of these has its file descriptor now, and nothing to say.
    others = [sock for _ in range(8) for sock in socket.socketpair()]
    asked = peer.send()
    await (await peer.accept()).serve(answer(b"second"))
    assert await asked == b"second"
    for sock in others:
        sock.close()


async def test_a_connection_that_the_server_has_closed_serves_no_other_request(peer: Peer):
    connection = await served_once(peer, answer(b"first"))
    connection.writer.close()

    asked = peer.send()
    await (await peer.accept()).serve(answer(b"second"))

    assert await asked == b"second"


async def test_a_connection_that_was_idle_for_long_is_closed(peer: Peer, monkeypatch):
    connection = await served_once(peer, answer(b"first"))
    monkeypatch.setattr(http_client, "IDLE_SECONDS", -1)

    asked = peer.send()

    await connection.ended()
    await (await peer.accept()).serve(answer(b"second"))
    assert await asked == b"second"


async def test_a_request_that_is_cancelled_takes_its_connection_along(peer: Peer):
    asked = peer.send()
    connection = await peer.accept()
    await read_request(connection.reader)

    asked.cancel()

    await connection.ended()
    again = peer.send()
    await (await peer.accept()).serve(answer(b"second"))
    assert await again == b"second"


async def test_an_answer_that_drips_is_waited_for_as_long_as_one_that_never_comes(peer: Peer, monkeypatch):
    monkeypatch.setattr(http_client, "READ_SECONDS", 0.2)
    asked = [peer.send() for _ in range(2)]
    mute, dripping = await peer.accept(), await peer.accept()
    await dripping.serve(b"HTTP/1.1 200 OK\r\nX-Endless: ")

    while not asked[0].done() or not asked[1].done():
        dripping.writer.write(b"x")
        await asyncio.wait(asked, timeout=0.05, return_when=asyncio.ALL_COMPLETED)

    assert [type(task.exception()) for task in asked] == [http_client.ReadTimeoutError] * 2
    await mute.reader.readuntil(b"\r\n\r\n")
    await mute.ended()


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", answer(b"whole")[:-1], answer(b"")[:-1]])
async def test_an_answer_that_is_cut_is_none_and_is_asked_for_once(peer: Peer, data):
    asked = peer.send()
    connection = await peer.accept()
    await connection.serve(data)
    connection.writer.close()

    with pytest.raises(http_client.ConnectionClosedError):
        await asked
    assert peer.accepted.empty()


async def test_a_broken_answer_ends_its_connection(peer: Peer):
    asked = peer.send()
    connection = await peer.accept()
    await connection.serve(b"SSH-2.0-OpenSSH\r\n\r\n")

    with pytest.raises(BrokenAnswer):
        await asked
    await connection.ended()


async def test_nobody_at_an_address_is_said():
    with bound_socket() as sock, pytest.raises(http_client.EndpointConnectionError):
        await HTTPClient(Server.at(url_of(sock), None)).send(REQUEST)


async def test_a_server_that_never_says_a_word_of_tls_is_given_up(peer: Peer, monkeypatch):
    monkeypatch.setattr(http_client, "CONNECT_SECONDS", 0.2)
    client = HTTPClient(peer.client.server._replace(tls=ssl.create_default_context()))

    with pytest.raises(http_client.ConnectTimeoutError):
        await client.send(REQUEST)


async def test_a_server_without_tls_is_told_apart_from_none(peer: Peer):
    client = HTTPClient(peer.client.server._replace(tls=ssl.create_default_context()))
    asked = asyncio.create_task(client.send(REQUEST))

    (await peer.accept()).writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with pytest.raises(http_client.SSLError):
        await asked
