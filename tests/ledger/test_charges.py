"""What a completion is charged."""

import pytest

from gptdock.ledger import charges
from gptdock.ledger.charges import Charge
from gptdock.upstream.usage import Usage


def test_an_exact_charge_is_what_the_upstream_says():
    assert charges.exact(*Usage(7, 5, 2, 4, 1)) == Charge(7, 5, 2, "upstream", 4, 1)


@pytest.mark.parametrize(
    ("prompt", "completion", "hold", "charge"),
    [
        (10, 5, 100, Charge(15, 10, 5, "counted")),
        (10, 5, 15, Charge(15, 10, 5, "counted")),
        (10, 5, 12, Charge(12, 10, 2, "counted")),
        (10, 5, 7, Charge(7, 7, 0, "counted")),
        (10, 0, 100, Charge(10, 10, 0, "counted")),
    ],
)
def test_a_counted_charge_is_at_most_the_hold_and_its_parts_sum_to_it(prompt, completion, hold, charge):
    assert charges.counted(prompt, completion, hold) == charge


@pytest.mark.parametrize(
    ("prompt", "unseen", "hold", "charge"),
    [
        (5, 20, 100, Charge(32, 10, 22, "counted")),
        (5, 20, 32, Charge(32, 10, 22, "counted")),
        (5, 20, 20, Charge(20, 10, 10, "counted")),
        (5, 20, 10, Charge(10, 8, 2, "counted")),
        (5, 20, 7, Charge(7, 5, 2, "upstream")),
        (5, 20, 6, Charge(7, 5, 2, "upstream")),
    ],
)
def test_lost_attempts_are_charged_so_far_as_the_hold_has_room(prompt, unseen, hold, charge):
    assert charges.with_lost(charges.exact(7, 5, 2), prompt, unseen, hold) == charge


def test_a_charge_with_lost_attempts_keeps_what_was_cached_and_thought():
    assert charges.with_lost(charges.exact(7, 5, 2, 4, 1), 5, 20, 100) == Charge(32, 10, 22, "counted", 4, 1)


@pytest.mark.parametrize(
    ("model", "may"),
    [
        ("gpt-4o-mini", False),
        ("gpt-4.1", False),
        ("gpt-3.5-turbo-0125", False),
        ("chatgpt-4o-latest", False),
        ("openai/gpt-4o", False),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", False),
        ("o1", True),
        ("o4-mini", True),
        ("gpt-5-nano", True),
        ("a-model-of-tomorrow", True),
        ("ft:o4-mini-2025-04-16:gpt-4-team::x", True),
        ("my-gpt-4-successor", True),
    ],
)
def test_a_model_may_think_unless_it_is_known_not_to(model, may):
    assert charges.may_think(model) is may
