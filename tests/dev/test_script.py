"""A script goes to another process as JSON and comes back the same."""

import json

import pytest

from gptdock.dev.script import Script


@pytest.mark.parametrize(
    "given", [Script(), Script(usage=False), Script(usage=1), Script(statuses=(503,), raw=b"\xff")]
)
def test_a_script_survives_json(given):
    back = Script.from_json(json.loads(json.dumps(given.to_json())))

    assert repr(back) == repr(given)  # not ==, to which 1 is True
