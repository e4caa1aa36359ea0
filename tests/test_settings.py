"""Which settings are accepted, and what an error says."""

import io
import re
import traceback
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from gptdock.errors import SettingsError
from gptdock.settings import DECIDED_BY_GPTDOCK, Settings

REQUIRED = {"OPEN_AI_KEY": "sk-1", "PRE_SHARED_KEY": "key-1"}
NAMES = [each.name.upper() for each in fields(Settings)]
CANARY = "canary7"


def pairs(text):
    return dict(pair.split("=", 1) for pair in text.split())


# All but that of SYSTEM_PROMPT.
DEFAULTS = pairs(
    """
HOST=0.0.0.0 PORT=5001 DASHBOARD=off OPS_HOST=127.0.0.1 OPS_PORT= ADMIN_KEY= LOG_LEVEL=INFO LOG_FORMAT=json
OPENAI_BASE_URL=https://api.openai.com/v1 OPENAI_MODEL=gpt-4o-mini OPENAI_MODELS= OPENAI_PARAMS={}
MAX_PROMPT_TOKENS=8000 MAX_COMPLETION_TOKENS=1000 OPENAI_PASS_FIELDS= DEFAULT_TOKEN_QUOTA=500000 QUOTA_PERIOD=none
AWS_ACCESS_KEY_ID= AWS_SECRET_ACCESS_KEY= AWS_SESSION_TOKEN= AWS_REGION=us-east-1 AWS_ENDPOINT_URL_DYNAMODB=
DYNAMODB_TABLE_PREFIX=gptdock_ MAX_BODY_BYTES=262144 MAX_STREAMS=1000 DRAIN_SECONDS=30 OPENAI_EMBEDDING_MODELS=
LEASE_SECONDS=60 LEASE_GRACE_SECONDS=10 LEASE_RETAIN_SECONDS=3600 PROGRESS_SECONDS=5 FORGET_KEY= HEAD_TIMEOUT=10
BODY_TIMEOUT=10 KEEPALIVE_TIMEOUT=75 RESERVE_TIMEOUT=2 CONNECT_TIMEOUT=3 FIRST_EVENT_TIMEOUT=60 THINK_TIMEOUT=600
EVENT_TIMEOUT=30 PING_SECONDS=15 WRITE_TIMEOUT=20 REQUEST_TIMEOUT=600
"""
)

# A value that each variable refuses; urllib's own error would show that of OPENAI_BASE_URL.
REFUSED = {name: f"a {CANARY}" for name in NAMES if name != "SYSTEM_PROMPT"}
REFUSED |= {"OPENAI_BASE_URL": f"http://host:{CANARY}", "OPENAI_PARAMS": f'{{"model": "{CANARY}"}}'}


def settings_of(**values):
    return Settings.from_env(REQUIRED | values)


def complaint_about(**values):
    try:
        settings_of(**values)
    except SettingsError as error:
        return str(error)
    return "nothing"


def test_every_default_is_the_documented_one():
    settings = settings_of()

    assert settings == settings_of(**DEFAULTS)
    assert set(NAMES) == {"SYSTEM_PROMPT", *DEFAULTS, *REQUIRED}


def test_optional_settings_are_empty_by_default():
    settings = settings_of()

    assert (settings.ops_port, settings.aws_endpoint_url_dynamodb) == (None, None)
    assert (settings.admin_key, settings.openai_models) == ((), ())
    assert (settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token) == ("", "", "")


def test_the_system_prompt_tells_the_model_and_the_day_and_changes_no_sooner():
    prompt = settings_of().system_prompt

    assert all(("{model}" in prompt, "{today}" in prompt))
    assert "{now}" not in prompt  # OpenAI's cache knows a prompt by its beginning


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_is_one_line_with_the_name_and_without_the_value(name):
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(REQUIRED | {name: REFUSED[name]})

    assert str(caught.value).startswith(f"{name} must be ")
    assert "\n" not in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value, limit=0))


@given(name=st.sampled_from(NAMES), noise=st.text(max_size=8), tail=st.text(max_size=8))
def test_no_value_is_shown_in_an_error(name, noise, tail):
    complaint = complaint_about(**{name: f"{noise}{CANARY}{tail}"})

    assert complaint == "nothing" or name in complaint
    assert CANARY not in complaint
    assert "\n" not in complaint


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, "", " \t"])
def test_a_required_variable_may_be_neither_absent_nor_empty(name, value):
    environ = {key: text for key, text in REQUIRED.items() if key != name} | ({} if value is None else {name: value})

    with pytest.raises(SettingsError, match=f"^{name} is missing; it must be [a-zA-Z, ]+$"):
        Settings.from_env(environ)


def test_the_repr_shows_no_secret():
    secrets = [name for name in NAMES if re.search("KEY$|KEY_ID$|TOKEN$", name)]
    settings = settings_of(**{name: f"{CANARY}-{name:->32}" for name in secrets})

    shown = repr(settings)

    assert CANARY not in shown
    assert "port=5001" in shown


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REQUIRED])
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_value_is_an_unset_one(name, empty):
    settings = settings_of(**{name: empty})

    assert settings == settings_of()


def test_surrounding_spaces_are_stripped():
    settings = settings_of(PORT=" 80\n", OPEN_AI_KEY=" sk-2 ", PRE_SHARED_KEY=" a , b ")

    assert (settings.port, settings.open_ai_key, settings.pre_shared_key) == (80, "sk-2", ("a", "b"))


def test_unknown_variables_are_ignored():
    settings = settings_of(PATH="/bin", GPTDOCK_X="1", port="1")

    assert settings == settings_of()


def test_settings_cannot_be_changed():
    settings = settings_of(OPENAI_PARAMS='{"temperature": 0.6}')

    with pytest.raises(FrozenInstanceError):
        settings.port = 1
    with pytest.raises(TypeError):
        settings.openai_params["seed"] = 1


def test_values_are_read_as_their_types():
    text = """
    PORT=0 OPS_PORT=9100 ADMIN_KEY=root OPENAI_MODELS=gpt-4o,o3 OPENAI_PARAMS={"temperature":0.6} PROGRESS_SECONDS=0.5
    OPENAI_BASE_URL=http://127.0.0.1:9000/v1/ AWS_ENDPOINT_URL_DYNAMODB=http://[::1]:8000 QUOTA_PERIOD=Month
    AWS_ACCESS_KEY_ID=id AWS_SECRET_ACCESS_KEY=secret AWS_SESSION_TOKEN=token LOG_LEVEL=debug LOG_FORMAT=text
    """

    settings = settings_of(**pairs(text), SYSTEM_PROMPT="Rhyme.\nAlways.", OPENAI_PASS_FIELDS="top_k,min_p")

    assert (settings.port, settings.ops_port, settings.admin_key) == (0, 9100, ("root",))
    named = (settings.openai_models, settings.openai_params, settings.openai_pass_fields)
    assert named == (("gpt-4o", "o3"), {"temperature": 0.6}, {"top_k", "min_p"})
    urls = (settings.openai_base_url, settings.aws_endpoint_url_dynamodb)
    assert urls == ("http://127.0.0.1:9000/v1", "http://[::1]:8000")
    keys = (settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token)
    assert (keys, settings.progress_seconds) == (("id", "secret", "token"), 0.5)
    told = (settings.quota_period, settings.log_level, settings.log_format, settings.system_prompt)
    assert told == ("month", "DEBUG", "text", "Rhyme.\nAlways.")


@pytest.mark.parametrize("value", ["-1", "65536", "1.5", "1_0", "٣", "0x10", "9" * 5000])
def test_a_port_is_a_whole_number_in_range(value):
    assert complaint_about(PORT=value) == "PORT must be a whole number from 0 to 65535"


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e3", "1_0", ".5", "86401"])
def test_a_deadline_is_a_positive_number_of_seconds(value):
    assert complaint_about(EVENT_TIMEOUT=value) == "EVENT_TIMEOUT must be a number of seconds from 0.001 to 86400"


@pytest.mark.parametrize("value", ["-1", "0.9", "60.5", "2592001"])
@pytest.mark.parametrize("name", ["LEASE_SECONDS", "LEASE_GRACE_SECONDS", "LEASE_RETAIN_SECONDS"])
def test_a_lease_is_timed_in_whole_seconds(name, value):
    assert complaint_about(**{name: value}).startswith(f"{name} must be a whole number from ")


@pytest.mark.parametrize("value", ["0", "15", "1000001"])
def test_a_limit_of_answers_has_room_for_a_minimal_one(value):
    complaint = complaint_about(MAX_COMPLETION_TOKENS=value)

    assert complaint.startswith("MAX_COMPLETION_TOKENS must be a whole number from 16 ")


@pytest.mark.parametrize("value", ["a,a", "a,,b", ",", "a b", "a,é", "a\tb", "a,\x00"])
def test_keys_are_visible_ascii_without_empty_or_repeated_ones(value):
    assert complaint_about(PRE_SHARED_KEY=value).startswith("PRE_SHARED_KEY must be one or more different words")
    assert complaint_about(ADMIN_KEY=value).startswith("ADMIN_KEY must be one or more different words")


@pytest.mark.parametrize(
    "value",
    [f"{start}host" for start in ("", "ftp://", "http://ho st.", "http://x\n.", "http://user:pass@")]
    + [f"http://{rest}" for rest in ("", ":80", "[::1", "host:0", "host:99999", "h/?a=b", "h/#a", "h?", "h/#")],
)
def test_a_url_is_http_with_a_host_and_without_user_query_or_fragment(value):
    assert complaint_about(OPENAI_BASE_URL=value).startswith("OPENAI_BASE_URL must be an http or https URL")
    assert complaint_about(AWS_ENDPOINT_URL_DYNAMODB=value).startswith("AWS_ENDPOINT_URL_DYNAMODB must be an http or")


@pytest.mark.parametrize(
    "value",
    ["[]", "null", "1", "{", '{"a": NaN}', '{"a": 1e999}', "[" * 100_000, f'{{"a": {"9" * 5000}}}']
    + [f'{{"{key}": 1}}' for key in DECIDED_BY_GPTDOCK],
)
def test_params_are_a_json_object_without_the_fields_of_gptdock(value):
    complaint = complaint_about(OPENAI_PARAMS=value)

    assert complaint.startswith("OPENAI_PARAMS must be a JSON object without messages, model, stream,")


@pytest.mark.parametrize("value", ["a/b", "a b", "é", "a" * 201])
def test_a_table_prefix_is_valid_in_dynamodb(value):
    assert complaint_about(DYNAMODB_TABLE_PREFIX=value).startswith("DYNAMODB_TABLE_PREFIX must be at most 200 letters")


SHARED_KEY = "ADMIN_KEY must not share a key with PRE_SHARED_KEY"
HALF_OF_A_PAIR = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set together"


@pytest.mark.parametrize(
    ("wrong", "right", "complaint"),
    [
        ("PROGRESS_SECONDS=20.1", "PROGRESS_SECONDS=20", "PROGRESS_SECONDS must be at most a third of LEASE_SECONDS"),
        ("REQUEST_TIMEOUT=3600.1", "REQUEST_TIMEOUT=3600", "REQUEST_TIMEOUT must be at most LEASE_RETAIN_SECONDS"),
        ("ADMIN_KEY=a,key-1", "ADMIN_KEY=a,key-10", SHARED_KEY),
        ("AWS_ACCESS_KEY_ID=a", "AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b", HALF_OF_A_PAIR),
        ("AWS_SECRET_ACCESS_KEY=b", "AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b", HALF_OF_A_PAIR),
        ("OPS_PORT=5001", "OPS_PORT=0 PORT=0", "OPS_PORT must differ from PORT"),
    ],
)
def test_settings_that_break_an_invariant_are_refused(wrong, right, complaint):
    assert complaint_about(**pairs(wrong)) == complaint
    assert settings_of(**pairs(right))


def test_the_example_names_every_variable_once_with_its_true_default():
    text = (Path(__file__).parents[1] / ".env.example").read_text()
    names = re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)

    shown = dotenv_values(stream=io.StringIO(re.sub(r"^#(?=[A-Z_]+=)", "", text, flags=re.MULTILINE)))

    assert sorted(names) == sorted(NAMES)
    assert {name: shown[name] for name in DEFAULTS} == DEFAULTS
    assert shown["SYSTEM_PROMPT"] == settings_of().system_prompt
    assert [shown[name] for name in REQUIRED] == ["", ""]
