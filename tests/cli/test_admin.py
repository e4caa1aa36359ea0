"""The operator's commands on a DynamoDB.

Most run in a thread, because a process takes a second to start; those that depend on how it starts run in one.
"""

import asyncio
import csv
import json
import os
import pwd
import socket
from asyncio.subprocess import PIPE

import pytest

from gptdock.accounts import Account
from gptdock.ledger.book import Lease, Receipt, Write
from gptdock.ledger.store import Store
from tests.harness.documents import OPERATORS
from tests.harness.processes import GPTDOCK, Finished, environment, run
from tests.harness.service import read_receipts

ACCOUNT = Account("1234", "demo")
RECEIPT = Receipt("2026-11-23T02:13:20.123Z#r1#p.1", 12, 5, 7, "=u1", "model", "upstream", "complete", "a", 1, 4, 1)


@pytest.fixture
def printed(gptdock, dynamodb: str):
    """Runs a command that must succeed; returns its stdout."""

    async def output(*arguments: str) -> str:
        finished = await gptdock(environment(dynamodb), *arguments)
        assert (finished.code, finished.err) == (0, "")
        return finished.out

    return output


async def charge(store: Store, *receipts: Receipt) -> None:
    """Open a book, charge these receipts to it and store them."""
    await store.open_book(ACCOUNT, "all", 500, "2026-11-23T02:13:20.000Z")
    used = sum(receipt.tokens for receipt in receipts)
    write = Write("a", None, Lease(0, 0, 1, 1, receipts), left_by=-used, used_by=used)
    assert (await store.send(ACCOUNT, "all", write)).applied
    await store.put_receipts([(ACCOUNT, "all", receipt) for receipt in receipts])


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


async def test_a_client_is_created_shown_changed_and_listed(gptdock, printed, dynamodb: str, store: Store):
    made = (await gptdock(environment(dynamodb), "client", "set-quota", "1234", "demo", "750000")).out
    shown = await printed("client", "show", "1234", "demo")
    changed = json.loads(await printed("client", "set-quota", "1234", "demo", "0", "--json"))
    listed = await printed("client", "list")

    assert made == shown
    assert all(head in OPERATORS.text for head in (shown.splitlines()[0], shown.splitlines()[3]))
    created_at = changed["created_at"]
    assert cells(shown) == [
        ["client", "product", "max", "created"],
        ["1234", "demo", "750000", created_at],
        [],
        ["period", "max", "left", "held", "used", "resets"],
        ["all", "750000", "750000", "0", "0", "never"],
    ]
    assert (changed["max_quota"], changed["books"][0]["quota_left"]) == (0, 0)
    assert cells(listed) == [["client", "product", "max", "created"], ["1234", "demo", "0", created_at]]
    user = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    receipts = [(each["user"], each["source"], each["outcome"]) for each in await read_receipts(store, ACCOUNT)]
    assert sorted(receipts) == [(user, "set_quota", "750000 -> 0"), (user, "set_quota", "750000 -> 750000")]
    assert (await printed("audit")).endswith("\n1 book, all balance\n")


async def test_what_a_dead_process_holds_is_shown_and_released(gptdock, printed, dynamodb: str, store: Store):
    await charge(store)
    far = Lease(held=60, will=25, number=7, expires_at=4_000_000_000)
    assert (await store.send(ACCOUNT, "all", Write("b1", None, far, left_by=-60))).applied
    env = environment(dynamodb, LEASE_SECONDS="1", LEASE_GRACE_SECONDS="0", PROGRESS_SECONDS="0.1")

    shown = await printed("client", "show", *ACCOUNT)
    released = await gptdock(env, "client", "release", *ACCOUNT, "--process", "b1")
    again = await gptdock(env, "client", "release", *ACCOUNT, "--process", "b1")

    assert cells(shown)[-2:] == [
        ["process", "period", "held", "will", "expires"],
        ["b1", "all", "60", "25", "2096-10-02T07:06:40.000Z"],
    ]
    assert (released.code, cells(released.out)[-1]) == (0, ["all", "500", "475", "0", "25", "never"])
    assert (again.code, again.err) == (1, "gptdock: This process holds no tokens of this client.\n")


async def test_a_command_with_another_period_than_the_server_s_changes_nothing(gptdock, dynamodb: str, store: Store):
    await store.put_in_force("month")
    changed = [
        await gptdock(environment(dynamodb), "client", "set-quota", *ACCOUNT, "5"),
        await gptdock(environment(dynamodb), "client", "reset", *ACCOUNT, "--yes"),
    ]
    shown = await gptdock(environment(dynamodb), "client", "list")
    agreed = await gptdock(environment(dynamodb, QUOTA_PERIOD="month"), "client", "set-quota", *ACCOUNT, "7")

    told = "gptdock: QUOTA_PERIOD is none here, but the processes that serve go by month\n"
    assert [(each.code, each.out, each.err) for each in changed] == [(1, "", told)] * 2
    assert (shown.code, shown.err, len(cells(shown.out))) == (0, told, 1)
    assert agreed.code == 0
    assert [period async for _, period, _ in store.books("1234")] == [cells(agreed.out)[4][0]]


async def test_a_change_made_with_sudo_names_the_user_who_ran_it(tmp_path, dynamodb: str, store: Store):
    env = environment(dynamodb, SUDO_USER="alice")
    finished = await run("client", "set-quota", "1234", "demo", "5", cwd=tmp_path, env=env)

    assert finished.code == 0
    assert [each["user"] for each in await read_receipts(store, ACCOUNT)] == ["cli:alice"]


async def test_a_list_as_json_is_what_the_api_answers(printed, store: Store):
    await store.open_book(ACCOUNT, "all", 500, "2026-11-23T02:13:20.000Z")

    listed = json.loads(await printed("client", "list", "--json"))

    client = {"client_id": "1234", "product_id": "demo", "max_quota": 500, "created_at": "2026-11-23T02:13:20.000Z"}
    client["follows_default"] = False
    assert listed == {"clients": [client], "next_cursor": None}


async def test_usage_is_a_table_json_or_csv(printed, store: Store):
    later = RECEIPT._replace(key="2026-12-01T00:00:00.000Z#r2#p.2", tokens=30)
    await charge(store, RECEIPT, later)

    by_user = await printed("usage", "1234", "demo", "--by", "user")
    november = json.loads(await printed("usage", "1234", "demo", "--period", "2026-11", "--json"))
    each = await printed("usage", "1234", "demo", "--by", "request", "--csv")

    assert by_user.splitlines()[0] in OPERATORS.text
    assert cells(by_user) == [
        ["user", "requests", "prompt", "completion", "tokens", "cached", "reasoning"],
        ["=u1", "2", "10", "14", "42", "8", "2"],
        ["42", "tokens", "in", "all"],
    ]
    day = {"day": "2026-11-23", "requests": 1, "prompt_tokens": 5, "completion_tokens": 7, "tokens": 12}
    about = {"client_id": "1234", "product_id": "demo", "period": "2026-11", "by": "day"}
    assert november == {**about, "rows": [day | {"cached_tokens": 4, "reasoning_tokens": 1}], "tokens": 12}
    rows = list(csv.DictReader(each.splitlines()))
    assert [(row["request_id"], row["user"], row["tokens"]) for row in rows] == [
        ("r1", "'=u1", "12"),
        ("r2", "'=u1", "30"),
    ]


async def test_csv_and_json_are_utf_8_whatever_the_terminal_has(tmp_path, dynamodb: str, store: Store):
    await charge(store, RECEIPT._replace(user="zoë"))

    env = environment(dynamodb, PYTHONIOENCODING="ascii:strict")
    finished = await run("usage", "1234", "demo", "--by", "user", "--csv", cwd=tmp_path, env=env)

    assert (finished.code, finished.err) == (0, "")
    assert finished.out.splitlines()[1].startswith("zoë,1,")


@pytest.mark.parametrize("command", [("client", "show"), ("client", "reset"), ("usage",)])
async def test_an_unknown_client_is_reported_in_one_line(gptdock, dynamodb: str, command: tuple[str, ...]):
    finished = await gptdock(environment(dynamodb), *command, "1234", "nothing")

    assert finished == Finished(1, "", "gptdock: This client is not known for this product.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        "client",
        "client show 1234",
        "client set-quota 1234 demo",
        "client set-quota 1234 demo -1",
        "client set-quota 1234 demo 1000000000000001",
        "client set-quota 1234 demo 1e3",
        "client forget 1234 demo",
        "client credit 1234 demo 5 --reason why",
        "client credit 1234 demo 5 --reason why --id é",
        "usage 1234 demo --period 2026-13",
        "usage 1234 demo --by client",
        "usage 1234",
        "usage --all --by request",
        "usage 1234 demo --from 2026-11-01",
        "usage --all --from 2026-11-02 --to 2026-11-01",
        "client forget --client c --user u",
        *("client list --near 101", "client list --limit 3", "client list --near 5 --prometheus --csv"),
        "usage 1234 demo --json --csv",
        f"usage {'x' * 256} demo",
        f"audit --client {'x' * 256}",
    ],
)
async def test_arguments_that_are_wrong_are_rejected_before_anything_is_done(gptdock, arguments: str):
    finished = await gptdock({}, *arguments.split())

    assert (finished.code, finished.out) == (2, "")
    assert "gptdock" in finished.err.splitlines()[-1]


async def test_an_id_may_look_like_a_number_below_zero(gptdock, dynamodb: str, store: Store):
    await gptdock(environment(dynamodb), "client", "set-quota", "-7", "demo", "5")

    assert await store.read_max(Account("-7", "demo")) == 5


async def test_a_command_without_a_dynamodb_says_so(gptdock):
    finished = await gptdock(environment(), "client", "list")

    assert finished.code == 1
    assert finished.err.startswith("gptdock: DynamoDB cannot be used: ")
    assert finished.err.count("\n") == 1


@pytest.mark.parametrize("command", [("client", "list"), ("client", "show", "1", "p"), ("usage", "1", "p"), ("audit",)])
async def test_a_command_without_tables_says_how_to_create_them(gptdock, without_tables: str, command):
    finished = await gptdock(environment(without_tables), *command)

    assert finished.code == 1
    assert "gptdock tables" in finished.err
    assert finished.err.count("\n") == 1


async def test_a_reader_that_stops_gets_no_traceback(tmp_path, dynamodb: str, store: Store):
    """As in `gptdock client list | head -1`."""
    await store.open_book(ACCOUNT, "all", 500, "now")
    near, far = socket.socketpair()
    far.close()
    with near:
        env = {"PATH": os.environ["PATH"]} | environment(dynamodb)
        process = await asyncio.create_subprocess_exec(
            GPTDOCK, "client", "list", cwd=tmp_path, env=env, stdout=near.fileno(), stderr=PIPE
        )
        async with asyncio.timeout(60):
            _, err = await process.communicate()

    assert (process.returncode, err) == (1, b"")


async def test_a_terminal_that_cannot_show_an_id_gets_escapes(tmp_path, dynamodb: str, store: Store):
    ascii_only = environment(dynamodb, PYTHONIOENCODING="ascii")
    await store.open_book(Account("zoë", "🦆"), "all", 1, "now")

    for command in (("client", "list"), ("client", "show", "zoë", "🦆"), ("audit",)):
        finished = await run(*command, cwd=tmp_path, env=ascii_only)

        assert (finished.code, finished.err) == (0, "")
        assert r"zo\xeb" in finished.out
        assert r"\U0001f986" in finished.out
