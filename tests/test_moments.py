"""How moments are written."""

from gptdock import moments


def test_a_moment_is_text_in_utc_with_its_milliseconds_cut():
    assert moments.text(1795400000.1239) == "2026-11-23T02:13:20.123Z"
    assert moments.text(1795400000) == "2026-11-23T02:13:20.000Z"


def test_moments_sort_as_text():
    whens = [0, 0.001, 0.9994, 1, 59.999, 60, 1795399999.9999, 1795400000.1239, 1795400000.5]

    texts = [moments.text(when) for when in whens]

    assert texts == sorted(set(texts))
