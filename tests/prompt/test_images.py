"""The most tokens that an image may cost, by model and detail."""

import pytest

from gptdock.prompt import images

TUNED = "ft:gpt-4o-mini-2024-07-18:acme::x"
SHRINKING = [
    "gpt-4o",
    "gpt-4.1-mini",
    "chatgpt-4o-latest",
    "openai/gpt-4o-2024-08-06",
    "gpt-5",
    "gpt-5-nano",
    "gpt-5-2025-08-07",
    "gpt-5.1",
    "gpt-5.2-codex",
    "o1",
    "o3-pro",
    "o4-mini-2025-04-16",
    "computer-use-preview",
]


@pytest.mark.parametrize("detail", ["high", "auto", "original", None, 7, []])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4o-mini-2024-07-18", "azure/gpt-4o-mini", TUNED])
def test_gpt_4o_mini_costs_most_but_for_a_low_detail(model, detail):
    assert images.most_tokens(model, detail) == 48_169
    assert images.most_tokens(model, "low") == 2_833


TILED = [
    "gpt-4o",
    "openai/gpt-4o-2024-08-06",
    "chatgpt-4o-latest",
    "gpt-4-turbo",
    "gpt-4.1",
    "gpt-4.5-preview",
    "gpt-5",
]
TILED += ["gpt-5-2025-08-07", "gpt-5-chat-latest", "o1", "o3-pro", "ft:gpt-4.1-2025-04-14:acme::x"]


@pytest.mark.parametrize("model", [*TILED, "computer-use-preview"])
def test_a_low_detail_costs_no_tile(model):
    assert images.most_tokens(model, "low") == 85


@pytest.mark.parametrize("model", ["gpt-4.1-mini", "gpt-4.1-nano", "gpt-5-mini", "o4-mini", "gpt-5.1", "x"])
def test_a_low_detail_of_models_without_tiles_may_cost_as_much_as_a_high_one(model):
    assert images.most_tokens(model, "low") == images.most_tokens(model, "high") == 3_779


@pytest.mark.parametrize("model", SHRINKING)
def test_models_that_shrink_every_image_have_one_price(model):
    assert images.most_tokens(model, None) == images.most_tokens(model, "original") == 3_779


@pytest.mark.parametrize("model", ["gpt-5.4", "gpt-5.5", "gpt-5.5-2026-04-01", "openai/gpt-5.4-pro"])
def test_models_that_take_more_of_an_image_are_held_for_it(model):
    assert images.most_tokens(model, None) == images.most_tokens(model, "auto") == 10_000


@pytest.mark.parametrize("model", ["gpt-5.6", "gpt-5.10", "gpt-6", "gpt-50", "yolo1x", "o5", "qwen3-vl", "gpt-5.40"])
def test_an_unknown_model_costs_the_most(model):
    assert images.most_tokens(model, None) == images.most_tokens(model, "original") == 30_000


@pytest.mark.parametrize("model", ["gpt-5.5", "gpt-5.6", "gpt-6"])
@pytest.mark.parametrize("detail", ["low", "high"])
def test_a_smaller_detail_is_cheaper(model, detail):
    assert images.most_tokens(model, detail) == 3_779
