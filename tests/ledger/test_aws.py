"""Both ways to DynamoDB: what they answer, what they take for a refusal, and how long they wait."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gptdock.errors import LedgerUnavailable
from gptdock.ledger import aws, http_client
from gptdock.ledger.clock import Clock
from gptdock.telemetry import metrics
from tests.harness.dynamodb_calls import ITEM, both_ways, fault_of, update
from tests.harness.hostile import bound_socket, raw_upstream, read_request, url_of
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import NOBODY, make_settings

ELEVEN = 1795690800  # 2026-11-26T11:00:00Z
TYPE = "com.amazonaws.dynamodb.v20120810#"
HARMLESS = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Message": "m"}, {"Code": "TransactionConflict"}]


def answer(content: Any, status: int = 400) -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nContent-Type: x\r\n\r\n".encode() + body


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"__type": TYPE + code, "message": "why", **more}


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[str]:
    """A DynamoDB that answers one request with each of these and closes then; where it is."""
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while waiting:
            await read_request(reader)
            writer.write(waiting.pop(0))
        writer.close()

    async with raw_upstream(serve) as url:
        yield url.removesuffix("/v1")


@both_ways
async def test_a_condition_that_did_not_hold_is_a_refusal_with_the_item():
    async with answering(answer(error("ConditionalCheckFailedException", Item=ITEM))) as url:
        with pytest.raises(aws.Refused) as raised:
            await update(url)

    assert raised.value.response["Item"] == ITEM


@both_ways
async def test_a_transaction_that_surely_did_nothing_is_a_refusal_with_its_reasons():
    async with answering(answer(error("TransactionCanceledException", CancellationReasons=HARMLESS))) as url:
        with pytest.raises(aws.Refused) as raised:
            await update(url)

    assert [reason["Code"] for reason in raised.value.response["CancellationReasons"]] == [
        "None",
        "ConditionalCheckFailed",
        "TransactionConflict",
    ]


NO_ANSWERS = {
    answer(error("ProvisionedThroughputExceededException")): "ProvisionedThroughputExceededException",
    answer(error("InternalServerError"), 500): "InternalServerError",
    answer(error("ConditionalCheckFailedException", Item=ITEM), 500): "ConditionalCheckFailedException",
    answer(error("ResourceNotFoundException")): "ResourceNotFoundException",
    answer({"__type": "ThrottlingException:http://x.example/", "Message": "m"}): "ThrottlingException",
    answer(
        error("TransactionCanceledException", CancellationReasons=[*HARMLESS, {"Code": "ThrottlingError"}])
    ): "TransactionCanceledException",
    answer(b"<html>", 503): "503",
    answer(b"", 500): "500",
    answer(b"no JSON", 400): "400",
    answer({}, 404): "404",
    answer(b"{}", 200)[:-1]: "ConnectionClosedError",
    b"": "ConnectionClosedError",
}


@both_ways
@pytest.mark.parametrize("data", NO_ANSWERS)
async def test_no_clear_answer_is_named_in_the_same_way_whatever_way_it_took(data):
    async with answering(data) as url:
        assert await fault_of(url) == NO_ANSWERS[data]


@both_ways
@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (answer({}, 200), "ok"),
        (answer(error("ConditionalCheckFailedException")), "refused"),
        (answer(b"", 500), "LedgerUnavailable"),
    ],
)
async def test_a_call_is_timed_by_operation_and_outcome(data, outcome):
    timed = metrics.DYNAMODB.labels("update_item", outcome)
    before = timed.sum

    async with answering(data) as url:
        with suppress(aws.Refused, LedgerUnavailable):
            await update(url)

    assert timed.sum > before


@both_ways
async def test_nobody_there_is_named():
    with bound_socket() as sock:
        assert await fault_of(url_of(sock).removesuffix("/v1")) == "EndpointConnectionError"


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'"x"', b"\xff", b'{"Attributes":', b"NaN"])
async def test_an_answer_that_is_no_json_object_is_none(body):
    """aiobotocore takes it for an answer without fields."""
    async with answering(answer(body, 200)) as url:
        assert await fault_of(url) == "BrokenAnswer"


@pytest.mark.parametrize("reasons", [7, None, "None", [7], [None], {"Code": "None"}])
async def test_reasons_that_cannot_be_read_are_no_refusal(reasons):
    async with answering(answer(error("TransactionCanceledException", CancellationReasons=reasons))) as url:
        assert await fault_of(url) == "BrokenAnswer"


@both_ways
@pytest.mark.parametrize("drip", [b"", b"x"])
async def test_a_call_ends_by_its_deadline_whatever_the_server_does(monkeypatch, drip):
    """A byte now and then is no reason to wait on."""
    monkeypatch.setattr(aws, "CALL_SECONDS", 0.3)
    monkeypatch.setattr(http_client, "READ_SECONDS", 0.3)

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        while not writer.is_closing():
            writer.write(drip)
            await asyncio.sleep(0.05)

    async with raw_upstream(serve) as url, asyncio.timeout(PATIENCE_SECONDS):
        assert await fault_of(url.removesuffix("/v1")) in ("TimeoutError", "ReadTimeoutError")


@both_ways
async def test_the_deadline_is_over_the_wait_for_a_connection_too(monkeypatch):
    for room in ("gptdock.ledger.aws", "gptdock.ledger.http_client"):
        monkeypatch.setattr(f"{room}.CONNECTIONS", 1)
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        assert not asked.is_set()
        asked.set()

    async with raw_upstream(serve) as url, aws.connect(make_settings(url.removesuffix("/v1"), NOBODY)) as client:
        first = asyncio.create_task(aws.call(client, "get_item", TableName="t", Key=ITEM))
        await asked.wait()
        monkeypatch.setattr(aws, "CALL_SECONDS", 0.2)
        monkeypatch.setattr(http_client, "WAIT_SECONDS", 0.2)

        with pytest.raises(LedgerUnavailable) as raised:
            await aws.call(client, "get_item", TableName="t", Key=ITEM)

        assert raised.value.fault in ("TimeoutError", "ConnectTimeoutError")
        assert not first.done()
        first.cancel()
        await asyncio.wait([first])


@both_ways
@pytest.mark.parametrize(
    ("content", "status"),
    [({}, 200), (error("ConditionalCheckFailedException"), 400), (error("ThrottlingException"), 400)],
)
async def test_each_answer_of_dynamodb_tells_its_time(content, status):
    dated = answer(content, status).replace(b"Content-Type: x", b"Date: Thu, 26 Nov 2026 11:00:00 GMT")

    async with answering(dated) as url, aws.connect(make_settings(url, NOBODY)) as client:
        with suppress(aws.Refused, LedgerUnavailable):
            await aws.call(client, "get_item", TableName="t", Key=ITEM)

        assert client.clock.sure
        assert ELEVEN <= client.clock() < ELEVEN + PATIENCE_SECONDS


@both_ways
async def test_a_book_is_dated_by_the_answer_or_the_refusal_that_shows_it():
    dated = [
        answer(*shown).replace(b"Content-Type: x", f"Date: Thu, 26 Nov 2026 11:00:0{second} GMT".encode())
        for second, shown in enumerate([({}, 200), (error("ConditionalCheckFailedException"), 400)])
    ]

    async with answering(*dated) as url, aws.connect(make_settings(url, NOBODY)) as client:
        first = await aws.call(client, "get_item", TableName="t", Key=ITEM)
        with pytest.raises(aws.Refused) as raised:
            await aws.call(client, "update_item", TableName="t", Key=ITEM)

    assert [first[aws.SEEN_AT], raised.value.response[aws.SEEN_AT]] == [ELEVEN, ELEVEN + 1]


@both_ways
async def test_the_error_of_a_gateway_before_dynamodb_tells_no_time():
    told = answer(b"<html>", 503).replace(b"Content-Type: x", b"Date: Thu, 26 Nov 2026 11:00:00 GMT")

    async with answering(told, told) as url, aws.connect(make_settings(url, NOBODY)) as client:
        for _ in range(2):
            with pytest.raises(LedgerUnavailable):
                await aws.call(client, "get_item", TableName="t", Key=ITEM)

        assert not client.clock.sure


@both_ways
async def test_an_error_without_a_date_is_no_reason_to_go_by_the_clock_of_the_machine():
    async with answering(answer(b"", 502)) as url, aws.connect(make_settings(url, NOBODY)) as client:
        with pytest.raises(LedgerUnavailable):
            await aws.call(client, "get_item", TableName="t", Key=ITEM)

        assert not client.clock.sure


async def test_calls_are_signed_by_the_clock_of_dynamodb():
    """It refuses what was signed five minutes ago, and says in the refusal what time it is."""
    signed: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            signed.append(head.lower().partition(b"x-amz-date: ")[2][:13])
            refusal = answer(error("InvalidSignatureException"))
            writer.write(refusal.replace(b"Content-Type: x", b"Date: Thu, 26 Nov 2026 11:00:00 GMT"))

    an_hour_behind = Clock(machine=lambda: ELEVEN - 3600.0)
    async with (
        raw_upstream(serve) as url,
        aws.connect(make_settings(url.removesuffix("/v1"), NOBODY), an_hour_behind) as client,
    ):
        for _ in range(2):
            with suppress(LedgerUnavailable):
                await aws.call(client, "get_item", TableName="t", Key=ITEM)

    assert signed == [b"20261126t1000", b"20261126t1100"]
