import re
import textwrap

from gptdock import errors
from gptdock.errors import APIError, InvalidRequest, LedgerUnavailable, Rejected, UpstreamLost, UpstreamRefused

ROW = re.compile(r"^(?P<branch>[ │├└─]*)(?P<name>\w+)(?: +(?P<status>\d{3})(?: (?!the same)(?P<code>\w+))?)?", re.M)


def rows():
    """Name, parent, status and code of every class that the docstring draws."""
    above = {}
    _, _, tree = (errors.__doc__ or "").partition("\n\n")
    for row in ROW.finditer(textwrap.dedent(tree)):
        depth = len(row["branch"]) // 4
        above[depth] = row["name"]
        yield row["name"], above.get(depth - 1), row["status"], row["code"]


def classes(root):
    yield root
    for child in root.__subclasses__():
        yield from classes(child)


def test_every_error_that_a_caller_is_told_is_in_the_tree_once():
    drawn = [name for name, *_ in rows()]

    assert len(drawn) == len(set(drawn))
    assert {error.__name__ for error in classes(APIError)} <= set(drawn)


def test_the_tree_shows_the_base_class_of_every_error():
    for name, parent, *_ in rows():
        if parent is not None:
            assert getattr(errors, name).__bases__ == (getattr(errors, parent),)


def test_every_error_has_the_status_and_the_code_of_the_tree():
    told = [(getattr(errors, name), status, code) for name, _, status, code in rows() if status is not None]

    assert len(told) == sum(1 for _ in classes(APIError)) - 1
    for error, status, code in told:
        assert error.status == int(status)
        assert code in (error.code, None)
    same = {errors.Unavailable, Rejected, UpstreamLost, UpstreamRefused}
    assert {error for error, _, code in told if code is None} == same


def test_an_error_reads_as_openai_clients_expect():
    error = InvalidRequest("stream must be true or false.", param="stream")

    assert error.to_json("r-1") == {
        "error": {
            "message": "stream must be true or false.",
            "type": "invalid_request_error",
            "param": "stream",
            "code": "invalid_request",
        },
        "request_id": "r-1",
    }


def test_every_error_has_a_message_by_default():
    for error in classes(APIError):
        assert str(error()) == error.message


def test_an_unavailable_error_says_when_to_retry():
    assert LedgerUnavailable().retry_after == 1
    assert LedgerUnavailable(retry_after=7).retry_after == 7
    assert LedgerUnavailable(retry_after=0).retry_after == 0
