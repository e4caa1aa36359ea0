"""Pseudonyms: always the same for an id and a key, and of users alone."""

import hashlib
import hmac

import pytest

from gptdock.ledger.pseudonyms import Pseudonyms, is_pseudonym, names_user
from tests.harness.admin import RECEIPT

MADE = Pseudonyms("k" * 32)
BY_AN_OPERATOR = ("set_quota", "reset", "credit", "forget", "lost", "late")


def test_a_pseudonym_depends_on_the_key_the_kind_and_the_id():
    made = {
        MADE.of("user", "u1"),
        MADE.of("client", "u1"),
        MADE.of("user", "u2"),
        Pseudonyms("l" * 32).of("user", "u1"),
        MADE.of("user", "\U0001f986"),
    }

    assert len(made) == 5
    assert all(map(is_pseudonym, made))
    digest = hmac.new(b"k" * 32, b"user\0u1", hashlib.sha256).hexdigest()
    assert MADE.of("user", "u1") == f"forgotten-{digest[:32]}"


def test_a_pseudonym_has_no_other():
    assert MADE.of("client", MADE.of("user", "u1")) == MADE.of("user", "u1")
    assert MADE.of("user", "forgotten-u1") != "forgotten-u1"


@pytest.mark.parametrize("source", ["upstream", "counted", *BY_AN_OPERATOR])
def test_only_a_user_is_hidden(source):
    receipt = RECEIPT._replace(source=source)
    hidden = MADE.hide_user(receipt)

    assert names_user(receipt) == (source not in BY_AN_OPERATOR)
    assert hidden == (receipt if source in BY_AN_OPERATOR else receipt._replace(user=MADE.of("user", "u1")))
    assert MADE.hide_user(receipt._replace(user="-")).user == "-"


def test_the_key_of_an_imported_receipt_hides_its_user_too():
    imported = RECEIPT._replace(source="import", key="2026-11-01T00:00:00.000Z#import#u1")
    rest = RECEIPT._replace(source="import", key="2026-11-01T00:00:00.000Z#import#", user="cli:anna")

    hidden = MADE.hide_user(imported)

    assert hidden.key == f"2026-11-01T00:00:00.000Z#import#{MADE.of('user', 'u1')}"
    assert MADE.hide_user(rest) == rest
    assert MADE.hide_user(RECEIPT._replace(key="t#my#import#u1#p.1")).key == "t#my#import#u1#p.1"
