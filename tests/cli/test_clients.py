"""The commands that change a client say what they do, and ask before they give back."""

import csv
import json

import pytest

from gptdock.accounts import Account
from gptdock.ledger.book import Lease, Write
from gptdock.ledger.store import Store
from tests.cli.test_admin import ACCOUNT, RECEIPT, cells, charge
from tests.harness.processes import environment
from tests.harness.service import read_receipts


async def test_changes_of_a_quota_are_told(gptdock, dynamodb: str, store: Store):
    """One DynamoDB for all: each command is another change of the same client."""
    env = environment(dynamodb, DEFAULT_TOKEN_QUOTA="70")
    refused = await gptdock(env, "client", "set-quota", *ACCOUNT, "500", "--existing")
    made = await gptdock(env, "client", "set-quota", *ACCOUNT, "500")
    again = await gptdock(env, "client", "set-quota", *ACCOUNT, "500", "--existing")
    twice = [
        await gptdock(env, "client", "credit", *ACCOUNT, "20", "--reason", "Monday", "--id", "t1") for _ in range(2)
    ]
    other = await gptdock(env, "client", "credit", *ACCOUNT, "21", "--reason", "Monday", "--id", "t1")
    default = await gptdock(env, "client", "default", *ACCOUNT, "--json")
    listed = await gptdock(env, "client", "list", "--csv")

    assert (refused.code, refused.err) == (1, "gptdock: This client is not known for this product.\n")
    assert (made.code, made.err) == (0, "gptdock: 1234 demo is a new client\n")
    assert (again.err, again.out) == ("", made.out)
    assert [cells(each.out)[-1][:3] for each in twice] == [["all", "520", "520"]] * 2
    assert (other.code, other.err) == (1, "gptdock: id belongs to a credit of 20 tokens.\n")
    shown = json.loads(default.out)
    assert (shown["follows_default"], shown["books"][0]["max_quota"]) == (True, 70)
    [row] = csv.DictReader(listed.out.removeprefix("\ufeff").splitlines())
    assert (row["client_id"], row["max_quota"], row["follows_default"]) == ("1234", "70", "True")
    assert row["created_at"] == shown["created_at"]
    assert [each["source"] for each in await read_receipts(store, ACCOUNT)].count("credit") == 1


async def test_a_reset_that_nobody_agrees_to_gives_nothing_back(gptdock, dynamodb: str, store: Store):
    await charge(store, RECEIPT)

    finished = await gptdock(environment(dynamodb), "client", "reset", *ACCOUNT)

    asked = "This gives back the 12 tokens that 1234 demo used in all. Type yes to go on: "
    assert (finished.code, finished.out) == (1, "")
    assert finished.err == f"{asked}gptdock: nothing was reset; it needs an answer, or --yes\n"
    book = await store.read(ACCOUNT, "all")
    assert book
    assert book.used == 12


async def test_a_reset_is_shown_and_the_audit_agrees(gptdock, dynamodb: str, store: Store):
    await charge(store, RECEIPT)

    shown = (await gptdock(environment(dynamodb), "client", "reset", *ACCOUNT, "--yes")).out

    assert cells(shown)[-1] == ["all", "500", "500", "0", "0", "never"]
    assert [each["tokens"] for each in await read_receipts(store, ACCOUNT)] == [12, -12]
    assert cells((await gptdock(environment(dynamodb), "audit")).out)[-2][-1] == "0"


@pytest.mark.parametrize("form", ["table", "json", "csv"])
async def test_an_audit_shows_only_drift_if_asked_and_ends_with_one_line(
    gptdock, dynamodb: str, store: Store, form: str
):
    await charge(store, RECEIPT)
    other = Account("5678", "demo")
    await store.open_book(other, "all", 500, "now")
    assert (await store.send(other, "all", Write("b", None, Lease(0, 0, 1, 4 * 10**9), -3, 3))).applied
    arguments = () if form == "table" else (f"--{form}",)

    finished = await gptdock(environment(dynamodb), "audit", "--only-drift", *arguments)

    said = "2 books, 1 do not balance"
    assert finished.code == 1
    assert "1234" not in finished.out
    if form == "table":
        assert (cells(finished.out)[1][0], finished.out.splitlines()[-1]) == ("5678", said)
        return
    assert finished.err == f"gptdock: {said}\n"
    text = finished.out.removeprefix("\ufeff")
    [row] = json.loads(text)["books"] if form == "json" else csv.DictReader(text.splitlines())
    assert (row["client"], str(row["drift"])) == ("5678", "3")


async def test_lists_over_all_clients_have_every_form(gptdock, dynamodb: str, store: Store):
    await charge(store, RECEIPT)
    env = environment(dynamodb)
    asked = [("client", "list", "--near", "2"), ("client", "find", "23"), ("usage", "--all", "--from", "2026-11-01")]

    for arguments in asked:
        table, in_json, in_csv = [await gptdock(env, *arguments, *form) for form in ((), ("--json",), ("--csv",))]

        assert {each.code for each in (table, in_json, in_csv)} == {0}
        assert cells(table.out)[1][:2] == ["1234", "demo"]
        [rows] = [each for each in json.loads(in_json.out).values() if isinstance(each, list)]
        [row] = csv.DictReader(in_csv.out.removeprefix("\ufeff").splitlines())
        assert list(rows[0]) == list(row)
        assert list(rows[0].values())[:2] == [row["client_id"], row["product_id"]] == ["1234", "demo"]
    assert (await gptdock(env, "client", "list", "--near", "3")).out.count("\n") == 1
    assert (await gptdock(env, "client", "find", "4321")).out.count("\n") == 1


async def test_a_client_s_books_are_rows_of_csv(gptdock, dynamodb: str, store: Store):
    await charge(store, RECEIPT)

    shown = await gptdock(environment(dynamodb), "client", "show", "1234", "demo", "--csv")

    [row] = csv.DictReader(shown.out.removeprefix("\ufeff").splitlines())
    assert (row["client_id"], row["period"], row["quota_used"], row["resets_at"]) == ("1234", "all", "12", "")


async def test_a_report_whose_days_are_in_the_wrong_order_is_an_error(gptdock, dynamodb: str):
    finished = await gptdock(environment(dynamodb), "usage", "--all", "--from", "9999-01-01")

    assert (finished.code, finished.out) == (1, "")
    assert finished.err.startswith("gptdock: the first day, 9999-01-01, is after the last, ")


async def test_nobody_is_forgotten_without_an_answer_or_a_key(gptdock, dynamodb: str, store: Store):
    await charge(store, RECEIPT)
    env = environment(dynamodb, FORGET_KEY="k" * 32)

    asked = await gptdock(env, "client", "forget", "--user", "=u1")
    keyless = await gptdock(environment(dynamodb), "client", "forget", "--user", "=u1", "--yes")
    counted = await gptdock(env, "client", "forget", "--user", "=u1", "--dry-run", "--json")

    pseudonym = json.loads(counted.out)["pseudonym"]
    assert (asked.code, asked.out, keyless.code, counted.code) == (1, "", 1, 0)
    said = f"This puts {pseudonym} in 0 books and 1 receipts of =u1, and cannot be undone. Type yes to go on: "
    assert asked.err == f"{said}gptdock: nothing was forgotten; it needs an answer, or --yes\n"
    assert keyless.err == "gptdock: FORGET_KEY is not set: pseudonyms are made by it.\n"
    assert [each["user"] for each in await read_receipts(store, ACCOUNT)] == ["=u1"]


async def test_a_forgotten_client_is_found_by_its_pseudonym_alone(gptdock, dynamodb: str, store: Store):
    await charge(store, RECEIPT)
    env = environment(dynamodb, FORGET_KEY="k" * 32)

    done = await gptdock(env, "client", "forget", "--client", "1234", "--yes")
    again = await gptdock(env, "client", "forget", "--client", "1234", "--yes", "--json")
    audited = await gptdock(env, "audit")

    [_, [pseudonym, *numbers]] = cells(done.out)
    assert (done.code, done.err, numbers) == (0, "", ["1", "1", "0", "yes"])
    assert (json.loads(again.out)["pseudonym"], json.loads(again.out)["receipts"]) == (pseudonym, 0)
    assert (audited.code, audited.out.splitlines()[-1]) == (0, "1 book, all balance")
    assert pseudonym in audited.out
    assert "1234" not in (await gptdock(env, "client", "list")).out


async def test_a_client_in_use_is_not_forgotten_and_the_command_says_so(gptdock, dynamodb: str, store: Store):
    await charge(store, RECEIPT)
    held = Write("b", None, Lease(20, 9, 1, 4 * 10**9), left_by=-20)
    assert (await store.send(ACCOUNT, "all", held)).applied

    finished = await gptdock(
        environment(dynamodb, FORGET_KEY="k" * 32), "client", "forget", "--client", "1234", "--yes"
    )

    assert (finished.code, cells(finished.out)[1][-2:]) == (1, ["1", "no"])
    assert "1 leases of running processes are in the way" in finished.err
