"""An upstream behind a corporate proxy, by the variables that every program obeys."""

import ssl
from base64 import b64encode
from pathlib import Path

import pytest

from gptdock.errors import SettingsError
from gptdock.upstream.proxies import proxy_for
from tests.harness.answers import read_answer
from tests.harness.hostile import Fault, bound_socket, raw_upstream, url_of
from tests.harness.relays import Relay, private_ca, relaying
from tests.harness.upstream_faults import ask_for_fault, check_upstream_down

ON_EACH_LOOP = True


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """TLS for an upstream at localhost, which clients trust."""
    ca, tls = private_ca(tmp_path)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=str(ca)))
    return tls


def https(relay: Relay) -> str:
    """The base URL of an upstream behind this relay."""
    return f"https://localhost:{relay.port}/v1"


async def test_the_upstream_is_asked_through_a_proxy_on_one_kept_connection(serve, openai, tls, monkeypatch):
    async with relaying(openai.url, tls=tls) as relay, relaying("", as_proxy=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with serve(openai_base_url=https(relay)) as service:
            assert (await read_answer(service, stream=True)).endswith(b"data: [DONE]\n\n")
            assert b'"choices"' in await read_answer(service)

        assert proxy.asked_for == [f"localhost:{relay.port}"]


async def test_a_proxy_is_not_used_for_a_host_in_no_proxy(serve, openai, tls, monkeypatch):
    async with relaying(openai.url, tls=tls) as relay, relaying("", as_proxy=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "other.example,localhost")
        async with serve(openai_base_url=https(relay)) as service:
            assert b'"choices"' in await read_answer(service)

        assert proxy.asked_for == []


async def test_the_key_is_ours_whatever_netrc_says(serve, openai, tls, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with relaying(openai.url, tls=tls) as relay, relaying("", as_proxy=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with serve(openai_base_url=https(relay)) as service:
            assert b'"choices"' in await read_answer(service)

    assert proxy.asked_for


async def test_a_proxy_is_given_its_user_and_the_key_is_not_for_it(serve, monkeypatch):
    heads = []

    async def refuse(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    async with raw_upstream(refuse) as url:
        monkeypatch.setenv("HTTPS_PROXY", url.removesuffix("/v1").replace("//", "//somebody:else@"))
        async with serve(openai_base_url="https://api.openai.com/v1") as service:
            assert await ask_for_fault(service, stream=False) == Fault(502, "upstream_error")
            await check_upstream_down(service)

    [head] = heads
    assert head.startswith(b"CONNECT api.openai.com:443 ")
    assert b"Basic " + b64encode(b"somebody:else") in head
    assert b"sk-upstream-secret" not in head


async def test_a_proxy_that_cannot_be_reached_costs_nothing(serve, monkeypatch):
    with bound_socket() as sock:
        monkeypatch.setenv("HTTPS_PROXY", url_of(sock).removesuffix("/v1"))
        async with serve(openai_base_url="https://api.openai.com/v1") as service:
            assert await ask_for_fault(service, stream=True) == Fault(502, "upstream_error")
            await check_upstream_down(service)


@pytest.mark.parametrize(
    ("variable", "value", "proxy"),
    [
        ("https_proxy", "http://proxy:3128", "http://proxy:3128"),
        ("HTTPS_PROXY", "proxy:3128", "http://proxy:3128"),
        ("HTTP_PROXY", "http://proxy:3128", None),
        ("HTTPS_PROXY", "", None),
    ],
)
def test_a_proxy_is_found_for_the_scheme_of_the_url(monkeypatch, variable, value, proxy):
    monkeypatch.setenv(variable, value)

    assert proxy_for("https://api.openai.com/v1") == proxy


def test_a_proxy_of_another_kind_is_refused_at_the_start(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://secret@proxy:1080")

    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY must be an http or https URL with a host$"):
        proxy_for("https://api.openai.com/v1")
