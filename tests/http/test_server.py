"""A process from its socket to its signal."""

import asyncio
import os
import signal
import socket

import pytest

from gptdock.errors import SettingsError
from gptdock.http import app as application
from gptdock.http import server
from tests.harness.hostile import (
    AUTHORIZED,
    PATIENCE_SECONDS,
    bound_socket,
    question,
    request,
)
from tests.harness.service import make_settings

NOBODY = "http://127.0.0.1:1"


def test_a_port_in_use_is_a_setting_that_is_wrong():
    with bound_socket() as sock:
        sock.listen()
        port = sock.getsockname()[1]

        with pytest.raises(SettingsError, match=rf"^PORT: 127\.0\.0\.1:{port} [^\n]*$"):
            server.listen(make_settings(NOBODY, NOBODY, host="127.0.0.1", port=port))


def test_an_address_of_another_machine_cannot_be_listened_on():
    with pytest.raises(SettingsError, match=r"^PORT: "):
        server.listen(make_settings(NOBODY, NOBODY, host="192.0.2.1", port=0))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1"])
def test_a_free_port_is_listened_on_at_once(host):
    with server.listen(make_settings(NOBODY, NOBODY, host=host, port=0)) as sock:
        address = sock.getsockname()[0].replace("0.0.0.0", "127.0.0.1")

        socket.create_connection((address, sock.getsockname()[1])).close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_address_of_all_interfaces_takes_ipv4_and_ipv6(address):
    with server.listen(make_settings(NOBODY, NOBODY, host="::", port=0)) as sock:
        socket.create_connection((address, sock.getsockname()[1])).close()


async def test_a_process_without_its_tables_does_not_start(without_tables):
    app = application.create(make_settings(without_tables, NOBODY))
    with bound_socket() as sock, pytest.raises(SettingsError, match=r"^[^\n]*gptdock_quota[^\n]*$"):
        await server.serve(app, sock, asyncio.Event())


async def test_a_process_without_dynamodb_starts_and_says_what_it_cannot_do(monkeypatch):
    monkeypatch.setattr(server, "SETTLE_SECONDS", PATIENCE_SECONDS)
    with bound_socket() as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        app = application.create(make_settings(url, NOBODY, reserve_timeout=0.2))
        sock, stop, ready = bound_socket(), asyncio.Event(), asyncio.Event()
        served = asyncio.create_task(server.serve(app, sock, stop, ready.set))
        await ready.wait()
        port = sock.getsockname()[1]

        faults = [
            await _answer(port, request("GET", "/v1/health", {"Connection": "close"})),
            await _answer(port, request("POST", "/v1/ask", AUTHORIZED | {"Connection": "close"}, question())),
            await _answer(
                port,
                request("GET", "/v1/client/info?client_id=c1&product_id=p1", AUTHORIZED | {"Connection": "close"}),
            ),
        ]

        assert [answer[9:12] for answer in faults] == [b"200", b"503", b"503"]
        assert all(b'"ledger_unavailable"' in answer and b"\r\nRetry-After: 1\r\n" in answer for answer in faults[1:])
        stop.set()
        assert await served  # no hold was asked for, since DynamoDB has not told the time


async def _answer(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_process_however_often_it_comes(number):
    stop = server.stop_on_signals()
    try:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await stop.wait()
        os.kill(os.getpid(), number)
        await asyncio.sleep(0)
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(each)
