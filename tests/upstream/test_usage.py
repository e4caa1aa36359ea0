"""What of a reported usage is believed."""

import pytest

from gptdock.upstream.usage import Usage, as_reported, sane_usage
from tests.harness.chunks import ODD_USAGES, USAGE

ODD_TOTALS: list[object] = [None, -1, "30", True, 30.5, [], 10**9 + 1]


def reported(prompt: object, completion: object, total: object) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def detailed(cached: object, reasoning: object) -> dict[str, object]:
    prompt, completion = {"cached_tokens": cached}, {"reasoning_tokens": reasoning}
    return {"prompt_tokens_details": prompt, "completion_tokens_details": completion}


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        (USAGE, Usage(7, 5, 2)),
        ({"total_tokens": 0}, Usage(0, 0, 0)),
        ({"total_tokens": 10**9}, Usage(10**9, 0, 0)),
        ({"total_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 1}}, Usage(7, 0, 0, 0, 1)),
        # details, which are no more than what they are part of
        (USAGE | detailed(5, 2), Usage(7, 5, 2, 5, 2)),
        (USAGE | detailed(6, 3), Usage(7, 5, 2, 5, 2)),
        (USAGE | {"input_tokens_details": {"cached_tokens": 4}}, Usage(7, 5, 2, 4)),
        (USAGE | {"output_tokens_details": {"reasoning_tokens": 1}}, Usage(7, 5, 2, 0, 1)),
        (USAGE | detailed(3.0, True), Usage(7, 5, 2, 3, 0)),
        (USAGE | detailed(None, "2"), Usage(7, 5, 2)),
        (USAGE | detailed(10**10, -1), Usage(7, 5, 2)),
        (USAGE | {"completion_tokens_details": "odd", "prompt_tokens_details": [7]}, Usage(7, 5, 2)),
        (USAGE | {"completion_tokens_details": {"reasoning_tokens": -1}}, Usage(7, 5, 2)),
        # a total below its parts
        (reported(10, 20, 0), Usage(30, 10, 20)),
        (reported(10, 20, 29), Usage(30, 10, 20)),
        (reported(10, None, 5), Usage(10, 10, 0)),
        # a total above its parts: thoughts that the parts leave out
        (reported(10, 20, 500), Usage(500, 10, 20)),
        # parts without a total that can be believed
        *((reported(10, 20, odd), Usage(30, 10, 20)) for odd in ODD_TOTALS),
        ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(7, 5, 2)),
        # by the names of the other API
        ({"input_tokens": 5, "output_tokens": 2}, Usage(7, 5, 2)),
        ({"input_tokens": 5, "output_tokens": 2, "total_tokens": 9}, Usage(9, 5, 2)),
        ({"input_tokens": 5, "prompt_tokens": 5, "total_tokens": 9}, Usage(9, 5, 0)),
        ({"input_tokens": 5}, None),
        # parts that cannot be believed
        (reported("10", -2, 7), Usage(7, 0, 0)),
        (reported(True, 10**10, 7), Usage(7, 0, 0)),
        (reported(None, None, 7), Usage(7, 0, 0)),
        # numbers as some upstreams write them
        (reported(10.0, 20.0, 30.0), Usage(30, 10, 20)),
        # too little to believe, or too much
        (None, None),
        (reported(10, None, None), None),
        (reported(None, 20, None), None),
        (reported(-10, 20, None), None),
        (reported(10.5, 20, None), None),
        (reported(float("inf"), float("nan"), float("nan")), None),
        (reported(10**9, 1, 7), None),
        *((odd, None) for odd in ODD_USAGES),
    ],
)
def test_a_usage_is_its_total_or_its_parts_whichever_is_more(value, usage):
    assert sane_usage(value) == usage
    assert usage is None or sane_usage(as_reported(usage)) == usage


@pytest.mark.parametrize(
    ("value", "denied"),
    [
        (reported(0, 0, 0), True),
        ({"total_tokens": 0}, True),
        (reported(10, 0, 10), True),
        (reported(10, 0.0, None), True),
        (USAGE, False),
        ({"total_tokens": 10}, False),
        (reported(10, None, 10), True),
        (reported(10, "odd", 10), True),
        (reported(10, 0, 30), False),
        (reported(0, 1, 1), False),
    ],
)
def test_a_usage_whose_total_is_the_prompt_s_alone_denies_text(value, denied):
    usage = sane_usage(value)

    assert usage is not None
    assert usage.denies_text == denied
