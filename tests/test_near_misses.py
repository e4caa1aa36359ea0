"""Which names are read or taken for a setting beside its own."""

import pytest

from gptdock.errors import SettingsError
from gptdock.settings import Settings


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("MAX_STREAM", "MAX_STREAMS"),
        ("PRESHARED_KEY", "PRE_SHARED_KEY"),
        ("OPENAI_KEY", "OPEN_AI_KEY"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("GPTDOCK_PORT", "PORT"),
        ("admin_key", "ADMIN_KEY"),
    ],
)
def test_a_name_that_is_nearly_a_setting_s_is_a_near_miss(typed: str, meant: str):
    assert Settings.near_misses({typed: "x"}) == [(typed, meant)]


@pytest.mark.parametrize("name", ["HOSTNAME", "HOME", "OPENAI_API_KEY", "AWS_DEFAULT_REGION", "HTTPS_PROXY"])
def test_a_name_that_others_use_is_no_near_miss(name: str):
    assert Settings.near_misses({name: "x", "OPENAI_MODEL": "o3", "OPENAI_MODELS": "o4"}) == []


def test_openai_s_own_name_of_its_key_is_read_where_ours_is_unset():
    others = {"PRE_SHARED_KEY": "key-1", "OPENAI_API_KEY": "sk-2"}

    assert Settings.from_env(others).open_ai_key == "sk-2"
    assert Settings.from_env(others | {"OPEN_AI_KEY": "sk-1"}).open_ai_key == "sk-1"


def test_a_missing_variable_is_told_with_the_name_that_was_typed():
    with pytest.raises(SettingsError, match=r"^PRE_SHARED_KEY is missing; .*; PRESHARED_KEY is set$"):
        Settings.from_env({"OPEN_AI_KEY": "sk-1", "PRESHARED_KEY": "canary7"})
