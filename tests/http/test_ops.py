"""The operations port, as Prometheus and a load balancer meet it."""

import asyncio
import re
import socket

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gptdock.accounts import Account
from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.errors import SettingsError
from gptdock.ledger.book import Lease, Write
from gptdock.ledger.store import Store
from tests.harness.hostile import start_drain
from tests.harness.service import Service


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Operations:
    """The operations port of a service."""

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"

    async def samples(self) -> dict[str, float]:
        """Every sample by name and labels, as Prometheus reads it."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = await response.text()
        return {
            name_of(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def ready(self) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/ready") as response:
            return response.status, (await response.json())["status"]


def name_of(name: str, labels: dict[str, str]) -> str:
    inner = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


@pytest.fixture
def operations() -> Operations:
    return Operations(free_port())


async def grown(operations: Operations, before: dict[str, float]) -> dict[str, float]:
    """The samples that are higher than before, by how much."""
    after = await operations.samples()
    return {name: value - before.get(name, 0) for name, value in after.items() if value > before.get(name, 0)}


async def test_a_stream_is_counted_where_an_operator_looks(serve, operations: Operations):
    async with serve(ops_port=operations.port) as service:
        before = await operations.samples()
        async with service.ask(stream=True) as response:
            await response.read()
        await service.ledger.settled()

        by = await grown(operations, before)

    record = service.openai.journal[0]
    inference = "gen_ai_operation_name=chat,gen_ai_provider_name=openai,gen_ai_request_model=gpt-4o-mini"
    usage = f"{inference},gen_ai_token_modality=unknown"
    assert by["gptdock_requests_total{outcome=complete,route=/v1/ask}"] == 1
    assert by["gptdock_tokens_charged_total{source=upstream}"] == record.spent
    assert by[f"gen_ai_client_inference_usage_input_tokens_total{{{usage}}}"] == record.prompt_tokens
    assert by[f"gen_ai_client_inference_usage_output_tokens_total{{{usage}}}"] == record.generated
    assert by[f"gen_ai_client_inference_time_to_first_chunk_seconds_count{{{inference}}}"] == 1
    assert by[f"gen_ai_client_inference_duration_seconds_count{{error_type=,{inference}}}"] == 1
    assert by["gptdock_upstream_seconds_count{outcome=ok}"] == 1
    assert by["gptdock_dynamodb_seconds_count{operation=update_item,outcome=ok}"] >= 1
    assert by["gptdock_dynamodb_seconds_count{operation=batch_write_item,outcome=ok}"] == 1
    assert by["gptdock_commit_requests_sum"] == 2  # a hold and a settle


async def test_open_holds_and_streams_are_gauges(serve, operations: Operations):
    async with serve(ops_port=operations.port) as service:
        service.openai.script = Script(hold_at=3)
        async with service.ask(stream=True) as response:
            await response.content.readany()
            during = await operations.samples()
            service.openai.release()
            await response.read()
        await service.ledger.settled()
        after = await operations.samples()

    names = ("gptdock_holds_open", "gptdock_streams_open")
    assert [during[name] - after[name] for name in names] == [1, 1]
    assert (after["gptdock_settles_pending"], after["gptdock_receipts_pending"]) == (0, 0)


async def test_unsettled_holds_are_a_gauge(serve, proxy, operations: Operations):
    async with serve(aws_endpoint_url_dynamodb=proxy.url, ops_port=operations.port) as service:
        service.openai.script = Script(hold_at=3)
        async with service.ask(stream=True) as response:
            await response.content.readany()
            proxy.always = "break"
            service.openai.release()
            await response.read()
        await proxy.struck.wait()
        during = await operations.samples()
        proxy.always = None
        await service.ledger.settled()

    assert during["gptdock_settles_pending"] == 1
    assert during["gptdock_dynamodb_seconds_count{operation=update_item,outcome=LedgerUnavailable}"] >= 1


@pytest.mark.parametrize(
    ("script", "outcome"), [(Script(status=401), "upstream_error"), (Script(status=429), "rate_limited")]
)
async def test_a_refusal_of_the_upstream_is_counted_by_what_it_means(serve, operations, script, outcome):
    async with serve(ops_port=operations.port) as service:
        service.openai.script = script
        before = await operations.samples()
        async with service.ask() as response:
            await response.read()

        by = await grown(operations, before)

    assert by[f"gptdock_upstream_seconds_count{{outcome={outcome}}}"] >= 1
    assert by[f"gptdock_requests_total{{outcome={outcome},route=/v1/ask}}"] == 1


async def test_an_attempt_whose_caller_left_counts_as_cancelled(serve, operations: Operations):
    async with serve(ops_port=operations.port) as service:
        service.openai.script = Script(stall_at=BEFORE_HEAD)
        before = await operations.samples()
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(_read(service))
            await service.openai.journal.arrived()
            asking.cancel()
        await service.openai.journal.left()
        await service.ledger.settled()

        by = await grown(operations, before)

    assert [name for name in by if name.startswith("gptdock_upstream_seconds_count")] == [
        "gptdock_upstream_seconds_count{outcome=cancelled}"
    ]


async def _read(service: Service) -> None:
    async with service.ask() as response:
        await response.read()


async def test_tokens_of_a_lost_process_are_charged_as_lost(serve, store: Store, operations: Operations):
    account = Account("c1", "p1")
    await store.open_book(account, "all", 1000, "now")
    write = Write("gone", None, Lease(300, 120, 1, 1), left_by=-300)
    assert (await store.send(account, "all", write)).applied
    async with serve(ops_port=operations.port) as service:
        before = await operations.samples()
        assert (await service.info())["quota_used"] == 120

        by = await grown(operations, before)

    assert by["gptdock_tokens_charged_total{source=lost}"] == 120


async def test_an_unknown_route_adds_no_series(serve, operations: Operations):
    async with serve(ops_port=operations.port) as service:
        for path in ("/v1/nowhere", "/secret"):
            async with service.session.get(service.url + path) as response:
                await response.read()

        names = "\n".join(await operations.samples())

    assert "gptdock_requests_total{outcome=not_found,route=-}" in names
    assert not re.search("nowhere|secret", names)


async def test_a_process_is_ready_until_it_drains(serve, operations: Operations):
    async with serve(ops_port=operations.port, drain_seconds=20) as service:
        assert await operations.ready() == (200, "ready")
        service.openai.script = Script(hold_at=3)
        async with service.ask(stream=True) as response:
            await response.content.readany()
            await start_drain(service)

            assert await operations.ready() == (503, "draining")

            service.openai.release()
            await response.read()


async def test_a_process_is_not_ready_without_dynamodb(serve, proxy, operations: Operations):
    async with serve(aws_endpoint_url_dynamodb=proxy.url, ops_port=operations.port):
        proxy.always = "break"
        assert await operations.ready() == (503, "dynamodb_unavailable")

        proxy.always = None
        assert await operations.ready() == (200, "ready")


async def test_a_process_is_not_ready_before_it_serves(serve, store, proxy, operations: Operations):
    proxy.strike("hole", operation="DescribeTable")

    async def wait_until_listening() -> tuple[int, str]:
        await proxy.struck.wait()
        return await operations.ready()

    asking = asyncio.create_task(wait_until_listening())
    async with serve(aws_endpoint_url_dynamodb=proxy.url, ops_port=operations.port):
        assert await asking == (503, "starting")


async def test_a_port_in_use_stops_the_start(serve, operations: Operations):
    with socket.create_server(("127.0.0.1", operations.port)), pytest.raises(SettingsError, match=r"^OPS_PORT: "):
        async with serve(ops_port=operations.port):
            pass
