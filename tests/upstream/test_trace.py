"""Which traces are passed on, and which ids of the upstream are noted."""

import pytest

from gptdock.upstream import trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "value", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-later.says"]
)
def test_a_trace_in_the_form_of_w3c_is_passed(value: str):
    assert trace.traceparent([value]) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 65}",
        f"cc-{TRACE}-{SPAN}-01-a\r\nX-Evil: 1",
        "0" * 60_000,
    ],
)
def test_any_other_trace_is_dropped(value: str):
    assert trace.traceparent([value]) == ""


def test_two_traces_are_none():
    assert trace.traceparent([f"00-{TRACE}-{SPAN}-01"] * 2) == ""


@pytest.mark.parametrize(
    ("given", "noted"), [("req_1", "req_1"), ("x" * 128, "x" * 128), ("x" * 129, ""), ("a b", ""), ("é", "")]
)
def test_an_id_of_the_upstream_is_noted_if_it_is_short_and_visible(given: str, noted: str):
    assert trace.request_id({"x-request-id": given}) == noted
    assert trace.request_id({}) == ""
