"""What clients bring with them, read from the old tables or a file; what cannot be read is named."""

import pytest

from gptdock.accounts import Account
from gptdock.admin.import_rows import Brought, Rows, of_csv, of_tables, sums

A, B = Account("a", "demo"), Account("b-1", "demo")


def client(client_id: str, left: str, most: str, product_id: str = "demo") -> dict[str, str]:
    return {"client_id": client_id, "product_id": product_id, "token_quota": left, "max_quota": most}


def user(org_id: str, user_id: str, used: str) -> dict[str, str]:
    return {"user_id": user_id, "org_id": org_id, "token_used": used}


def test_what_a_client_used_is_what_is_no_longer_left():
    rows = of_tables([client("a", "70", "100"), client("b-1", "-5", "10")], [user("b-1-demo", "u1", "15")])

    assert rows == Rows([Brought(A, 100, 30), Brought(B, 10, 15, {"u1": 15})], [])
    assert list(sums(rows.clients)) == [2, 110, 45]
    assert list(sums([])) == [0, 0, 0]


def test_more_left_than_the_maximum_is_nothing_used():
    assert of_tables([client("a", "120", "100")], []).clients == [Brought(A, 100, 0)]


def test_each_row_that_cannot_be_read_is_named():
    clients = [
        client("a", "1", "2"),
        client("", "1", "2"),
        client("x", "1.5", "2"),
        client("x", "1", "-2"),
        {"client_id": "x", "product_id": "p"},
    ]
    users = [user("a-demo", "", "1"), user("unknown-demo", "u", "1"), user("a-demo", "u", "x"), {"user_id": "u"}]

    rows = of_tables(clients, users)

    assert rows.clients == [Brought(A, 2, 1)]
    assert [line.partition(" ")[0] for line in rows.unreadable] == ["client_data"] * 4 + ["user_data"] * 4


def test_a_user_of_an_ambiguous_organisation_is_named_and_not_guessed():
    rows = of_tables([client("a-b", "1", "2", "c"), client("a", "1", "2", "b-c")], [user("a-b-c", "u", "1")])

    assert len(rows.clients) == 2
    assert len(rows.unreadable) == 1


def test_a_file_may_have_a_line_of_names_and_leave_out_what_was_used():
    text = "\ufeffclient_id,product_id,max_quota,used\na,demo,100,30\n\nb-1,demo,10\n"

    assert of_csv(text) == Rows([Brought(A, 100, 30), Brought(B, 10, 0)], [])


def test_a_file_is_read_as_spreadsheets_write_it():
    text = '"client_id","product_id","max_quota"\r\n"a","demo","100"\r\n\r\n"b-1","demo", 10,\r\n'
    lines = 'a\u2028b,"de""mo","1"\n'

    assert of_csv(text) == Rows([Brought(A, 100, 0), Brought(B, 10, 0)], [])
    assert of_csv(lines) == Rows([Brought(Account("a\u2028b", 'de"mo'), 1, 0)], [])


@pytest.mark.parametrize(
    "line",
    [
        *("a;demo;100", "a,demo,1_0", "a,demo,+1", "a,demo,1e3", "a,demo,1.0", "a,demo,٣", "a, demo,1", "a,demo,"),
        f"a,demo,{'9' * 5000}",
        f"{'a' * 200_000},demo,1",
        '"a\nb",demo,1',
        "a,demo,100,1,",
        ",,,",
        "=1+1,,1",
        "a\0,demo,1",
    ],
)
def test_no_odd_line_is_guessed_at(line: str):
    rows = of_csv(f"{line}\nb-1,demo,10\n")

    assert rows.clients == [Brought(B, 10, 0)]
    assert [each.split()[:2] for each in rows.unreadable] == [["line", "1"]]


def test_each_line_that_cannot_be_read_is_named():
    rows = of_csv("a,demo,100\na,demo,200\nb,demo\nc,demo,x\nd,demo,1,2,3\n,demo,1\ne,demo,1,-1\n")

    assert rows.clients == [Brought(A, 100, 0)]
    assert [line.split()[1] for line in rows.unreadable] == ["2", "3", "4", "5", "6", "7"]
