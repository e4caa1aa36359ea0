"""moto's DynamoDB over HTTP, one call at a time.

moto has no locks: of 100 concurrent conditional writes of which 30 may succeed, more than 30 do. So all calls run in
one thread, one after the other, which makes each call atomic, including transactions. moto keeps its tables in a global
variable; here each server has its own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from aiohttp import web
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.request import Request
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.responses import DynamoHandler

KEEP_SECONDS = 0.2  # between two calls of `keep`

_ANSWER_HEADERS = ("content-type", "x-amzn-requestid", "x-amz-crc32")
_CHANGES = (".PutItem", ".UpdateItem", ".DeleteItem", ".TransactWriteItems", ".BatchWriteItem")


@asynccontextmanager
async def serve_dynamodb(
    host: str = "127.0.0.1", port: int = 0, tables: "Tables | None" = None, keep: "Keep | None" = None
) -> AsyncIterator[str]:
    """Run a DynamoDB, empty or with these tables, while the context is open; yields its endpoint URL.

    `keep` is called with the tables soon after each change, and at the end; no call is served meanwhile.
    """
    tables = Tables() if tables is None else tables
    async with AsyncExitStack() as stack:
        one_at_a_time = stack.enter_context(ThreadPoolExecutor(max_workers=1, thread_name_prefix="dynamodb"))
        changed = await stack.enter_async_context(_keeping(tables, keep, one_at_a_time))

        async def handle(request: web.BaseRequest) -> web.Response:
            body = await request.read()
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(one_at_a_time, _answer, tables, request, body)
            if request.headers.get("X-Amz-Target", "").endswith(_CHANGES):
                changed.set()
            return answer

        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, host, port, backlog=1024).start()
        yield f"http://{host}:{runner.addresses[0][1]}"


@asynccontextmanager
async def _keeping(
    tables: "Tables", keep: "Keep | None", one_at_a_time: ThreadPoolExecutor
) -> AsyncIterator[asyncio.Event]:
    """Call `keep` in this thread after the yielded event was set, and at the end."""
    changed, loop = asyncio.Event(), asyncio.get_running_loop()
    if keep is None:
        yield changed
        return

    async def go_on() -> None:
        while True:
            await changed.wait()
            changed.clear()
            await loop.run_in_executor(one_at_a_time, keep, tables)
            await asyncio.sleep(KEEP_SECONDS)

    keeper = asyncio.create_task(go_on())
    try:
        yield changed
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
        await loop.run_in_executor(one_at_a_time, keep, tables)


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


Keep = Callable[[Tables], None]


class _Handler(DynamoHandler):
    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self._tables = tables

    @property
    def dynamodb_backend(self) -> DynamoDBBackend:
        return self._tables[self.region]
