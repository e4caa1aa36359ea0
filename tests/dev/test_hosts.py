"""`gptdock dev` is not open to web pages whose domain points to this machine."""

import aiohttp
import pytest

from gptdock.dev.hosts import is_local
from tests.harness.hostile import Fault, fault_of
from tests.harness.processes import dev


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:5001", "[::1]:5001", "192.168.1.7", "localhost:5001", "LOCALHOST", "app.localhost", "", "Box"],
)
def test_an_address_localhost_or_the_own_name_is_local(host: str):
    assert is_local(host, "box")


@pytest.mark.parametrize(
    "host",
    ["evil.example:5001", "127.0.0.1.evil.example", "localhost.evil", "notlocalhost", "[::1", "box.evil"],
)
def test_any_other_name_is_not_local(host: str):
    assert not is_local(host, "box")


async def test_make_run_refuses_a_page_that_was_rebound_to_it(tmp_path):
    async with dev(tmp_path) as running, aiohttp.ClientSession(headers={"Authorization": "Bearer dev-key"}) as session:
        async with session.get(f"{running.url}/v1/models", headers={"Host": "evil.example:5001"}) as response:
            assert await fault_of(response) == Fault(403, "forbidden")
        async with session.get(f"{running.url}/v1/models") as response:
            assert response.status == 200
