import pytest

from gptdock.accounts import Account
from gptdock.http.cursors import from_cursor, to_cursor


@pytest.mark.parametrize("account", [Account("c1", "p1"), Account("é🦆?/&=#", "+ %"), Account("1", "x" * 255)])
def test_a_cursor_is_an_account_that_fits_into_a_url(account: Account):
    assert from_cursor(to_cursor(account), 2) == [*account]
    assert to_cursor(account).replace("-", "").replace("_", "").isalnum()
