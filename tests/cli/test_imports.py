"""`gptdock import` brings clients over once, however often it is started, and whenever it was killed."""

import asyncio

from gptdock.accounts import Account
from gptdock.admin.audit import audit
from gptdock.ledger.book import Lease, Write
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from tests.harness.processes import GPTDOCK, environment
from tests.harness.proxy import Fault, Proxy
from tests.harness.service import read_receipts

CLIENTS = 6
USERS = 30  # of each client: more than one batch


async def old_tables(store: Store) -> None:
    """The tables of the service that is replaced: client `c<i>` has 10,000 tokens, of which it used 1,000 i + 31."""
    aws = store._client.aiobotocore
    for name, keys in (("client_data", ("client_id", "product_id")), ("user_data", ("user_id", "org_id"))):
        await aws.create_table(
            TableName=f"gpt_dock_{name}",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": keys[0], "KeyType": "HASH"}, {"AttributeName": keys[1], "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        )
    for i in range(CLIENTS):
        left, most = {"N": str(10_000 - 1000 * i - 31)}, {"N": "10000"}
        who = {"client_id": {"S": f"c{i}"}, "product_id": {"S": "demo"}}
        await aws.put_item(TableName="gpt_dock_client_data", Item={**who, "token_quota": left, "max_quota": most})
        for u in range(USERS):
            row = {"user_id": {"S": f"u{u}"}, "org_id": {"S": f"c{i}-demo"}, "token_used": {"N": str(u + i)}}
            await aws.put_item(TableName="gpt_dock_user_data", Item=row)


async def check_books(store: Store) -> None:
    """Every client has its maximum and its use, by user, exactly once."""
    for i in range(CLIENTS):
        account = Account(f"c{i}", "demo")
        book, receipts = await store.read(account, "all"), await read_receipts(store, account)
        assert book
        assert (book.max, book.used, book.left) == (10_000, 1000 * i + 31, 10_000 - 1000 * i - 31)
        assert {each["user"]: each["tokens"] for each in receipts if each["user"].startswith("u")} == {
            f"u{u}": u + i for u in range(USERS)
        }
    findings = [finding async for finding in audit(store, Sweeper(store, None, 10, 3600))]
    assert [finding for finding in findings if not finding.balances] == []


async def test_an_import_that_is_killed_twice_and_started_again_doubles_nothing(
    gptdock, dynamodb: str, store: Store, proxy: Proxy, tmp_path
):
    """Killed once after a client's book was opened, once when its change was applied and not answered."""
    await old_tables(store)
    dry = await gptdock(environment(dynamodb), "import", "--dry-run")
    assert [book async for book in store.books()] == []
    for passed in (4, 5):
        faults: list[Fault] = ["pass"] * passed
        proxy.strike(*faults, "mute", operation="TransactWriteItems")
        process = await asyncio.create_subprocess_exec(GPTDOCK, "import", cwd=tmp_path, env=environment(proxy.url))
        async with asyncio.timeout(60):
            await proxy.struck.wait()
        process.kill()
        await process.wait()

    first = await gptdock(environment(dynamodb), "import")
    again = await gptdock(environment(dynamodb), "import")

    there = "6 clients, 60,000 tokens at most, 15,186 used"
    assert (dry.code, dry.out) == (0, f"to import: {there}\n")
    assert (first.code, first.err, first.out.splitlines()[2:]) == (0, "", [f"there: {there}", f"here: {there}"])
    assert again.out.splitlines()[1] == "0 imported now, 6 before"
    await check_books(store)


async def test_an_import_adds_to_a_client_who_is_served_already_and_tells_what_differs(
    gptdock, dynamodb: str, store: Store, tmp_path
):
    account = Account("a", "demo")
    await store.open_book(account, "all", 500, "2026-11-23T02:13:20.000Z")
    lease = Lease(50, 10, 1, 4 * 10**9)
    assert (await store.send(account, "all", Write("x", None, lease, left_by=-50))).applied
    (tmp_path / "clients.csv").write_text("a,demo,900,300\nb,demo,x\n")
    command = ("import", str(tmp_path / "clients.csv"))

    first = await gptdock(environment(dynamodb), *command)
    (tmp_path / "clients.csv").write_text("a,demo,900,301\n")
    changed = await gptdock(environment(dynamodb), *command)
    (tmp_path / "clients.csv").write_bytes("ä,demo,1\n".encode("latin-1"))
    not_utf8 = await gptdock(environment(dynamodb), *command)

    book = await store.read(account, "all")
    assert book
    assert (book.max, book.used, book.held, book.left) == (900, 300, 50, 550)
    assert (first.code, first.err.count("\n")) == (1, 1)
    assert first.err.startswith("gptdock: not readable: line 2 ['b', 'demo', 'x']")
    assert (changed.code, changed.err) == (
        1,
        "gptdock: differs: a demo: max 900, used 301 there; max 900, used 300 here\n",
    )
    assert (not_utf8.code, not_utf8.err) == (1, f"gptdock: {command[1]} must be UTF-8; its byte 0 is not\n")
