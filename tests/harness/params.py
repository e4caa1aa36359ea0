"""Which field a refusal names."""

import pytest

from gptdock.errors import InvalidRequest


def param_of(call, *arguments):
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments)
    assert caught.value.status == 400
    return caught.value.param
