"""What an operator does through the admin routes."""

import aiohttp

from tests.harness.service import Service


async def read(response: aiohttp.ClientResponse):
    """The JSON of an answer that must be well."""
    assert response.status == 200, await response.text()
    assert response.content_type == "application/json"
    return await response.json()


async def overview(service: Service, **query: str):
    """One client as the API shows it, once everything is settled."""
    await service.ledger.settled()
    async with service.admin("GET", "client", **query) as response:
        return await read(response)


async def set_quota(service: Service, max_quota: int, **query: str):
    """Set the usual client's quota, and return the client as the API shows it then."""
    async with service.admin("PUT", "client/quota", json={"max_quota": max_quota}, **query) as response:
        return await read(response)
