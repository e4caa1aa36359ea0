"""The table of DynamoDB's cost in the guide for operators is what its formula gives. `test_bill` measures the units."""

import re

from tests.harness.documents import OPERATORS

DOLLARS = 0.625 / 1_000_000  # for a write unit on demand, in us-east-1 since 2024-11-01
TO_BEGIN = 5  # units for the first request of a period: a refused write, a transaction of two items
WITHOUT_RENEWALS = 3  # units for a request: hold, settle, receipt
RENEWALS = 2  # more for an answer of ten seconds
DAYS = 30


def cost(clients: int, requests: int) -> str:
    """A month of so many requests a day."""
    units = TO_BEGIN * clients + (WITHOUT_RENEWALS + RENEWALS) * requests * DAYS
    return f"${units * DOLLARS:,.2f}"


def test_the_table_of_costs_is_what_its_formula_gives():
    table = OPERATORS.text[OPERATORS.text.index("| clients |") :].partition("\n\n")[0]
    head, _, *rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]

    requests = [int(cell.partition(" ")[0].replace(",", "")) for cell in head[1:]]
    assert len(requests) == len(rows) == 4
    for clients, *cells in rows:
        assert cells == [cost(int(clients.replace(",", "")), each) for each in requests]


def test_the_formula_has_the_units_and_the_price_of_the_table():
    [formula] = re.findall(r"`(\d) × clients \+ 30 × \((\d) \+ (\d)\) × requests`", OPERATORS.text)

    assert [int(each) for each in formula] == [TO_BEGIN, WITHOUT_RENEWALS, RENEWALS]
    assert f"${DOLLARS * 1_000_000:.3f}" in OPERATORS.text
