"""How each way to DynamoDB gets there: addresses, TLS, proxies and credentials."""

import asyncio
import datetime
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from aiohttp import web

from gptdock.accounts import Account
from gptdock.errors import LedgerUnavailable
from gptdock.ledger import aws, dynamo
from gptdock.ledger.clock import Clock
from gptdock.ledger.store import Store
from gptdock.settings import Settings
from tests.harness.dynamodb_calls import DIRECT, ITEM, THROUGH_AIOBOTOCORE, both_ways, fault_of, way
from tests.harness.hostile import raw_upstream, read_request
from tests.harness.relays import private_ca, relaying
from tests.harness.service import NOBODY, make_settings

ACCOUNT = Account("c1", "p1")


async def open_a_book(url: str) -> str:
    """Open a book at this endpoint and read it; the way it took."""
    async with aws.connect(make_settings(url, NOBODY)) as client:
        store = Store(client, "gptdock_")
        await store.open_book(ACCOUNT, "all", 100, "now")
        assert await store.read_max(ACCOUNT) == 100
        return way(client)


@both_ways
async def test_an_ipv6_address_is_an_endpoint_like_others(dynamodb: str):
    async with relaying(dynamodb, "::1") as relay:
        await open_a_book(f"http://[::1]:{relay.port}")

        assert relay.connections > 0


@both_ways
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_tls_is_trusted_by_a_private_authority(dynamodb: str, tmp_path, monkeypatch, host, variable):
    ca, tls = private_ca(tmp_path)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(ca))

    async with relaying(dynamodb, "::1" if ":" in host else "127.0.0.1", tls=tls) as relay:
        await open_a_book(f"https://{host}:{relay.port}")

        assert relay.connections > 0


@both_ways
async def test_tls_of_an_authority_that_nobody_knows_is_refused(dynamodb: str, tmp_path, monkeypatch):
    _, tls = private_ca(tmp_path)
    monkeypatch.delenv("AWS_CA_BUNDLE")

    async with relaying(dynamodb, tls=tls) as relay:
        assert await fault_of(f"https://localhost:{relay.port}") == "SSLError"


@both_ways
async def test_tls_for_another_host_is_refused(dynamodb: str, tmp_path, monkeypatch):
    ca, tls = private_ca(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ca))

    async with relaying(dynamodb, "127.0.0.2", tls=tls) as relay:
        assert await fault_of(f"https://127.0.0.2:{relay.port}") == "SSLError"


async def test_a_ca_bundle_that_is_not_there_is_each_call_s_fault(monkeypatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent.pem")

    assert await fault_of("https://localhost:1")


async def test_a_proxy_is_used_through_aiobotocore(dynamodb: str, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    ca, tls = private_ca(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ca))

    async with relaying(dynamodb, tls=tls) as relay, relaying("", as_proxy=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert await open_a_book(f"https://localhost:{relay.port}") == THROUGH_AIOBOTOCORE
        assert set(proxy.asked_for) == {f"localhost:{relay.port}"}

    [line] = [record for record in caplog.records if record.message == "DynamoDB is called through aiobotocore"]
    assert vars(line)["why"] == "a proxy"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "HTTP_PROXY"])
async def test_a_proxy_that_is_not_for_the_endpoint_is_not_used(dynamodb: str, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    if variable == "HTTP_PROXY":
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    assert await open_a_book(dynamodb) == DIRECT


async def test_a_scheme_in_capitals_is_a_scheme(dynamodb: str, tmp_path, monkeypatch):
    ca, tls = private_ca(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ca))

    async with relaying(dynamodb, tls=tls) as relay:
        assert await open_a_book(f"HTTPS://LOCALHOST:{relay.port}") == DIRECT


async def test_an_endpoint_with_a_path_is_called_through_aiobotocore(dynamodb: str):
    assert await open_a_book(f"{dynamodb}/path") == THROUGH_AIOBOTOCORE


# Credentials that expire: of a role, as a container is given them.


class Role:
    """Gives a container credentials that live so many seconds, the next ones the next time."""

    def __init__(self, lifetimes: list[int]) -> None:
        self.lifetimes, self.given = lifetimes, 0

    async def handle(self, _request: web.BaseRequest) -> web.Response:
        """One request for credentials; none are given any more after the last."""
        if self.given == len(self.lifetimes):
            await asyncio.Event().wait()
        expires_at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.lifetimes[self.given])
        self.given += 1
        content = {"AccessKeyId": "id", "SecretAccessKey": "secret", "Token": f"token-{self.given}"}
        return web.json_response(content | {"Expiration": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")})


@pytest.fixture
def fresh_session(monkeypatch) -> Iterator[None]:
    """A session that has not found credentials yet, and finds no others than a container's."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    aws._session.cache_clear()
    yield
    aws._session.cache_clear()


@asynccontextmanager
async def credentials_of(role: Role, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    runner = web.ServerRunner(web.Server(role.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{runner.addresses[0][1]}/")
    try:
        yield
    finally:
        await runner.cleanup()


def without_keys(url: str) -> Settings:
    return make_settings(url, NOBODY, aws_access_key_id="", aws_secret_access_key="")


@pytest.mark.usefixtures("fresh_session", "each_way")
async def test_credentials_that_expire_are_asked_for_anew(monkeypatch):
    tokens = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            tokens.append(head.lower().partition(b"x-amz-security-token: ")[2].partition(b"\r\n")[0])
            writer.write(b"HTTP/1.1 200 -\r\nContent-Length: 2\r\n\r\n{}")

    async with (
        credentials_of(Role([60, 60, 60, 7200]), monkeypatch),
        raw_upstream(serve) as url,
        aws.connect(without_keys(url.removesuffix("/v1")), Clock(machine=count(2 * 10**9).__next__)) as client,
    ):
        for _ in range(4):  # in a second each
            await aws.call(client, "get_item", TableName="t", Key=ITEM)

    assert b"token-1" not in tokens
    assert tokens[0] < tokens[1] <= tokens[2] == tokens[3] == b"token-4"


@pytest.mark.usefixtures("fresh_session", "each_way")
async def test_the_deadline_is_over_new_credentials_too(dynamodb: str, monkeypatch):
    monkeypatch.setattr(aws, "CALL_SECONDS", 0.3)
    monkeypatch.setattr(dynamo, "CREDENTIALS_SECONDS", 0.3)

    async with credentials_of(Role([60]), monkeypatch), aws.connect(without_keys(dynamodb)) as client:
        with pytest.raises(LedgerUnavailable) as raised:
            await aws.call(client, "get_item", TableName="t", Key=ITEM)

    assert raised.value.fault == "TimeoutError"


@pytest.mark.usefixtures("fresh_session")
async def test_no_credentials_are_each_call_s_fault(dynamodb: str):
    async with aws.connect(without_keys(dynamodb)) as client:
        assert way(client) == THROUGH_AIOBOTOCORE
        with pytest.raises(LedgerUnavailable) as raised:
            await aws.call(client, "get_item", TableName="t", Key=ITEM)

    assert raised.value.fault == "NoCredentialsError"
