"""The DynamoDB of the local stack, called with the client that production uses."""

import asyncio
import sys
from contextlib import asynccontextmanager

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from gptdock.dev.dynamodb import serve_dynamodb

KEY = {"client_id": {"S": "1234"}, "book": {"S": "quota#all#p"}}
LEASE = "l#1a2b-3c"


def number(value):
    return {"N": str(value)}


@asynccontextmanager
async def connect(url, region="eu-west-1"):
    config = AioConfig(parameter_validation=False, max_pool_connections=32, retries={"total_max_attempts": 1})
    credentials = {"aws_access_key_id": "dummy", "aws_secret_access_key": "dummy"}
    make = get_session().create_client
    async with make("dynamodb", region_name=region, endpoint_url=url, config=config, **credentials) as client:
        yield client


async def create_table(client):
    names = {"client_id": "HASH", "book": "RANGE"}
    await client.create_table(
        TableName="quota",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in names.items()],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
    )


async def put_book(client, left=30):
    lease = {"M": {"o": number(5), "n": number(7)}}
    await client.put_item(TableName="quota", Item=KEY | {"left": number(left), "used": number(0), LEASE: lease})


async def read_book(client, key=KEY):
    return (await client.get_item(TableName="quota", Key=key, ConsistentRead=True)).get("Item")


def commit(client, seen, needed, **more):
    """A commit as `store` sends it: replaces lease number `seen` and takes `needed` from `left`, if it suffices."""
    values = {":map": {"M": {"o": number(0), "n": number(8)}}, ":by": number(-needed)}
    return client.update_item(
        TableName="quota",
        Key=KEY,
        UpdateExpression="SET #l = :map, #left = #left + :by",
        ConditionExpression="#l.#n = :seen AND #left >= :needed",
        ExpressionAttributeNames={"#l": LEASE, "#n": "n", "#left": "left"},
        ExpressionAttributeValues={**values, ":seen": number(seen), ":needed": number(needed)},
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
        **more,
    )


@pytest.fixture
async def client():
    async with serve_dynamodb() as url, connect(url) as client:
        await create_table(client)
        await put_book(client)
        yield client


async def test_update_with_a_condition_on_a_nested_value_is_applied(client):
    answer = await commit(client, seen=7, needed=30, ReturnValues="ALL_NEW")

    assert answer["Attributes"]["left"] == number(0)
    assert answer["Attributes"][LEASE] == {"M": {"o": number(0), "n": number(8)}}
    assert answer["Attributes"] == await read_book(client)


@pytest.mark.parametrize(("seen", "needed"), [(6, 30), (7, 31)])
async def test_a_refused_update_changes_nothing_and_returns_the_item(client, seen, needed):
    with pytest.raises(ClientError) as refused:
        await commit(client, seen, needed)

    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert refused.value.response["Item"] == await read_book(client)
    assert refused.value.response["Item"]["left"] == number(30)


async def test_a_missing_table_is_an_error_of_the_right_kind(client):
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        await client.get_item(TableName="nowhere", Key=KEY)


def transaction(client, standing):
    new = {"Put": {"TableName": "quota", "Item": KEY | {"book": {"S": "new"}}}}
    check = {
        "ConditionCheck": {
            "TableName": "quota",
            "Key": KEY,
            "ConditionExpression": "#left = :standing",
            "ExpressionAttributeNames": {"#left": "left"},
            "ExpressionAttributeValues": {":standing": number(standing)},
        }
    }
    return client.transact_write_items(TransactItems=[new, check])


async def test_a_transaction_writes_when_its_condition_check_holds(client):
    await transaction(client, standing=30)

    assert await read_book(client, KEY | {"book": {"S": "new"}})


async def test_a_transaction_writes_nothing_when_its_condition_check_fails(client):
    with pytest.raises(client.exceptions.TransactionCanceledException) as cancelled:
        await transaction(client, standing=29)

    codes = [reason["Code"] for reason in cancelled.value.response["CancellationReasons"]]
    assert codes == ["None", "ConditionalCheckFailed"]
    assert await read_book(client, KEY | {"book": {"S": "new"}}) is None


async def test_a_batch_is_written_whole(client):
    keys = [KEY | {"book": {"S": str(index)}} for index in range(25)]

    answer = await client.batch_write_item(RequestItems={"quota": [{"PutRequest": {"Item": key}} for key in keys]})

    assert answer["UnprocessedItems"] == {}
    assert [await read_book(client, key) for key in keys] == keys


async def test_time_to_live_can_be_set(client):
    wanted = {"Enabled": True, "AttributeName": "expires_at"}

    await client.update_time_to_live(TableName="quota", TimeToLiveSpecification=wanted)

    described = (await client.describe_time_to_live(TableName="quota"))["TimeToLiveDescription"]
    assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


async def take_one(client):
    try:
        await client.update_item(
            TableName="quota",
            Key=KEY,
            UpdateExpression="SET #left = #left - :one",
            ConditionExpression="#left >= :one",
            ExpressionAttributeNames={"#left": "left"},
            ExpressionAttributeValues={":one": number(1)},
        )
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True


@pytest.fixture
def restless_threads():
    """Makes Python switch threads so often that a race shows."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless_threads")
async def test_conditional_writes_that_race_take_no_more_than_there_is(client):
    """With several threads in moto more than 30 succeed, so there is one."""
    won = await asyncio.gather(*(take_one(client) for _ in range(100)))

    assert sum(won) == 30
    assert (await read_book(client))["left"] == number(0)


async def test_a_server_starts_empty_after_another_one():
    async with serve_dynamodb() as url, connect(url) as client:
        await create_table(client)

    async with serve_dynamodb() as url, connect(url) as client:
        tables = await client.list_tables()

    assert tables["TableNames"] == []


async def test_servers_and_regions_share_no_tables():
    async with (
        serve_dynamodb() as url,
        serve_dynamodb() as other_url,
        connect(url) as client,
        connect(url, "us-east-1") as elsewhere,
        connect(other_url) as other,
    ):
        await create_table(client)

        names = [(await each.list_tables())["TableNames"] for each in (client, elsewhere, other)]

    assert names == [["quota"], [], []]


async def test_the_port_is_free_again_when_the_server_is_closed():
    async with serve_dynamodb() as url:
        port = int(url.rpartition(":")[2])

    async with serve_dynamodb(port=port) as again:
        assert again == url
