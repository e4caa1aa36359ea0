"""moto's DynamoDB over HTTP, one call at a time.

moto has no locks: of 100 concurrent conditional writes of which 30 may succeed, more than 30 do. So all calls run in
one thread, one after the other, which makes each call atomic, including transactions. moto keeps its tables in a global
variable; here each server has its own.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from aiohttp import web
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.request import Request
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.responses import DynamoHandler

_ANSWER_HEADERS = ("content-type", "x-amzn-requestid", "x-amz-crc32")


@asynccontextmanager
async def serve_dynamodb(host: str = "127.0.0.1", port: int = 0, tables: "Tables | None" = None) -> AsyncIterator[str]:
    """Run a DynamoDB, empty or with these tables, while the context is open; yields its endpoint URL."""
    tables = Tables() if tables is None else tables
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="dynamodb") as one_at_a_time:

        async def handle(request: web.BaseRequest) -> web.Response:
            body = await request.read()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(one_at_a_time, _answer, tables, request, body)

        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=1024).start()
            yield f"http://{host}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def _answer(tables: "Tables", request: web.BaseRequest, body: bytes) -> web.Response:
    moto_request = Request.from_primitives(request.method, str(request.url), request.headers, body)
    handler = _Handler(tables)
    handler.setup_class(moto_request, moto_request.raw_url, moto_request.headers)
    status, headers, text = handler.call_action()
    by_name = {name.lower(): value for name, value in headers.items()}
    kept = {name: by_name[name] for name in _ANSWER_HEADERS if name in by_name}
    return web.Response(status=int(status), headers=kept, body=text.encode() if isinstance(text, str) else text)


class Tables(dict[str, DynamoDBBackend]):
    """The tables of one DynamoDB, by region."""

    def __missing__(self, region: str) -> DynamoDBBackend:
        self[region] = DynamoDBBackend(region, DEFAULT_ACCOUNT_ID)
        return self[region]


class _Handler(DynamoHandler):
    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self._tables = tables

    @property
    def dynamodb_backend(self) -> DynamoDBBackend:
        return self._tables[self.region]
