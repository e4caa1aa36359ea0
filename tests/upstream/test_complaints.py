"""What an upstream says of a failure becomes one of our errors, whatever form it has."""

import pytest

from gptdock.errors import (
    APIError,
    ContextLengthExceeded,
    RateLimited,
    Rejected,
    UpstreamError,
    UpstreamQuota,
    UpstreamRefused,
)
from gptdock.upstream import complaints
from gptdock.upstream.complaints import MOST_MESSAGE, Complaint, read, to_error

WORDS = {"message": "Bad words.", "param": "messages", "code": "invalid_prompt", "type": "invalid_request_error"}

ODD_BODIES: list[object] = [None, [], {}, 7, True, [None], [[]], {"error": []}, {"detail": [7]}]
ODD_CODES: list[object] = ["server_error", None, 7, True, 400.0, 99_400, "4000", [], {}]


def no(kind: str | None = None) -> Complaint:
    return Complaint(400, "No.", type=kind)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"error": WORDS}, Complaint(400, "Bad words.", "messages", "invalid_prompt", "invalid_request_error")),
        ({"error": {"message": "No."}}, no()),
        ({"error": "No."}, no()),
        ({"error": "No.", "code": "x"}, Complaint(400, "No.", None, "x")),
        ({"message": "No."}, no()),
        ({"detail": " No. "}, no()),
        ({"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, Complaint(400, "field required")),
        ({"object": "error", "message": "No.", "type": "BadRequestError", "code": 400}, no("BadRequestError")),
        ({"type": "error", "error": {"type": "not_found_error", "message": "No."}}, no("not_found_error")),
        ([{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}], no("INVALID_ARGUMENT")),
        ({"error": {"message": ["No."], "param": "what I wrote", "code": {"x": 1}, "type": 7}}, Complaint(400)),
        ({"error": {"message": None, "param": None, "code": None, "type": None}}, Complaint(400)),
        *((odd, Complaint(400)) for odd in ODD_BODIES),
    ],
)
def test_a_complaint_is_read_from_any_form(content, told):
    assert read(content, 400) == told


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"type": "invalid_request_error", "code": "invalid_prompt"}, 400),
        ({"type": "invalid_request_error", "code": None}, 400),
        ({"code": "invalid_prompt"}, 400),
        ({"code": "content_filter"}, 400),
        ({"code": "unsupported_value"}, 400),
        ({"code": "context_length_exceeded"}, 400),
        ({"code": 400}, 400),
        ({"code": "413"}, 413),
        ({"status": 422}, 422),
        ({"code": 400, "status": "INVALID_ARGUMENT"}, 400),
        ({"status": "INVALID_ARGUMENT"}, 400),
        ({"type": "BadRequestError"}, 400),
        ({"type": "not_found_error"}, 404),
        ({"type": "invalid_request_error", "code": "model_not_found"}, 404),
        ({"type": "request_too_large"}, 413),
        ({"type": "authentication_error"}, 401),
        ({"type": "rate_limit_error"}, 429),
        ({"code": "rate_limit_exceeded", "type": "tokens"}, 429),
        ({"code": 529, "type": "overloaded_error"}, 529),
        *(({"code": code}, 0) for code in ODD_CODES),
        ({"type": "server_error"}, 0),
        ({}, 0),
    ],
)
def test_an_event_s_error_has_the_status_of_its_number_code_or_type(error, status):
    assert read(error).status == status


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (Complaint(500), UpstreamError),
        (Complaint(0), UpstreamError),
        (Complaint(302), UpstreamError),
        (Complaint(408), UpstreamError),
        (Complaint(401, code="invalid_api_key"), UpstreamError),
        (Complaint(403), UpstreamError),
        (Complaint(407), UpstreamError),
        (Complaint(400, code="invalid_api_key", type="invalid_request_error"), UpstreamError),
        (Complaint(400, code="context_length_exceeded"), ContextLengthExceeded),
        *((Complaint(status, code="x"), UpstreamRefused) for status in (400, 404, 405, 409, 413, 415, 422, 451)),
        (Complaint(429), RateLimited),
        (Complaint(429, code="rate_limit_exceeded"), RateLimited),
        (Complaint(402), UpstreamQuota),
        *((Complaint(status, code="insufficient_quota"), UpstreamQuota) for status in (0, 403, 429)),
        (Complaint(429, type="insufficient_quota"), UpstreamQuota),
    ],
)
def test_a_complaint_is_known_by_its_code_otherwise_by_its_status(told: Complaint, kind: type[APIError]):
    assert type(to_error(told)) is kind


@pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key"])
def test_what_is_wrong_with_our_account_is_told_to_nobody_and_not_to_be_asked_again(code):
    error = to_error(Complaint(400, "Incorrect API key provided: hush-hush", code=code))

    assert (error.rejection, error.should_retry, "hush" in str(error)) == (None, False, False)


@pytest.mark.parametrize("status", [401, 403, 407, 408, 429, 500, 503])
def test_the_upstream_s_words_are_for_refusals_of_the_request_only(status):
    assert to_error(Complaint(status, "Words.", "messages", "x")).rejection is None


def test_a_refusal_of_the_request_has_the_upstream_s_words_for_who_wrote_it():
    error = to_error(Complaint(422, "Bad words.", "messages", "content_filter"))

    assert isinstance(error.rejection, Rejected)
    assert error.rejection.to_json("r")["error"] == {
        "message": "Bad words.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "content_filter",
    }
    assert (error.rejection.status, error.status) == (422, 502)
    assert "Bad" not in str(error)


def test_a_refusal_without_words_or_code_has_ours():
    rejection = to_error(Complaint(404)).rejection

    assert rejection is not None
    assert (str(rejection), rejection.to_json("r")["error"]["code"]) == (UpstreamRefused.message, "invalid_request")


def test_a_long_message_is_cut_and_no_key_is_cut_in_two():
    key = "sk-proj-A1b2C3d4E5f6G7h8"
    for start in ("x " * (MOST_MESSAGE // 2 - 3), f"{key} " * 159 + "x " * 5):
        told = read({"message": start + key + " x" * 50_000}, 400, key)

        assert len(told.message) <= MOST_MESSAGE
        assert "sk-" not in told.message


def test_our_own_key_is_no_name_either():
    told = read({"error": {"message": "No.", "param": "0a1b-2c3d", "code": "0A1B-2C3D", "type": "x"}}, 400, "0a1b-2c3d")

    assert told == Complaint(400, "No.", None, None, "x")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"error": {"message": "No."}, "choices": None}, {"message": "No."}),
        ({"error": {"message": "No."}, "choices": []}, {"message": "No."}),
        ({"error": "No."}, {"message": "No."}),
        ({"object": "error", "message": "No."}, {"object": "error", "message": "No."}),
        ({"type": "error", "message": "No."}, {"type": "error", "message": "No."}),
        ({"success": False, "errors": [{"code": 7, "message": "No."}]}, {"code": 7, "message": "No."}),
        (
            {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "No."}},
            {"code": 1008, "message": "No."},
        ),
        ({"code": "InvalidParameter", "message": "No."}, {"code": "InvalidParameter", "message": "No."}),
        ({"code": 400, "msg": "No."}, {"code": 400, "msg": "No."}),
        ({"code": 0, "message": "ok"}, None),
        ({"code": "200", "message": "ok", "choices": []}, None),
        ({"code": 7, "message": "ok", "choices": [{}]}, None),
        ({"base_resp": {"status_code": 0, "status_msg": "success"}}, None),
        ({"base_resp": 7, "errors": 7}, None),
        ({"errors": [], "choices": []}, None),
        ({"errors": [7]}, None),
        ({"message": "hello"}, None),
        ({"code": 7, "message": {"content": "hello"}}, None),
        ({}, None),
    ],
)
def test_a_complaint_is_found_behind_a_good_status_in_any_form(content, found):
    assert complaints.find(content) == found


@pytest.mark.parametrize(
    ("param", "field"),
    [
        ("response_format.json_schema", "response_format.json_schema"),
        ("messages.[0].content", "messages.[0].content"),
        ("tools[0].function.name", "tools[0].function.name"),
        ("what the caller wrote", None),
        ("x" * 101, None),
        ("sk-proj-A1b2C3d4E5f6G7h8", None),
        ("key_0123456789abcdef0123456789abcdef", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_a_field_is_named_if_it_can_be_a_field_s_name(param, field):
    assert complaints.name(param) == field


@pytest.mark.parametrize(("after", "told"), [(None, 1), (0.0, 1), (0.2, 1), (1.0, 1), (1.2, 2), (3600.0, 3600)])
def test_a_rate_limit_asks_to_wait_for_whole_seconds(after, told):
    assert to_error(Complaint(429), after).retry_after == told
