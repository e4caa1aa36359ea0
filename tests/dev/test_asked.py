"""Which tool an answer of the simulated OpenAI calls, and which format it has."""

import pytest

from gptdock.dev.asked import Asked, Tool, schema_asked, tool_asked

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
FLAT = {"type": "function", "name": "weather", "parameters": SCHEMA}
NOTE = {"type": "custom", "custom": {"name": "note"}}
SEARCH = {"type": "web_search"}
ALLOWED = {"mode": "required", "tools": [{"type": "function", "name": "weather"}]}


def called(tools, choice=None, before=(), *, is_question=True):
    tool = tool_asked({"tools": tools, "tool_choice": choice}, before, is_question=is_question)
    return tool and tool.name


@pytest.mark.parametrize("tool", [WEATHER, FLAT])
def test_a_tool_is_read_in_the_shape_of_either_route(tool):
    assert Tool.from_json(tool) == ("weather", SCHEMA)


def test_a_custom_tool_has_no_schema():
    assert Tool.from_json(NOTE) == ("note", None)


@pytest.mark.parametrize(
    ("tools", "choice", "name"),
    [
        ([NOTE, WEATHER], None, "note"),
        ([NOTE, WEATHER], "auto", "note"),
        ([NOTE, WEATHER], "none", None),
        ([NOTE, WEATHER], {"type": "function", "function": {"name": "weather"}}, "weather"),
        ([FLAT], {"type": "function", "name": "weather"}, "weather"),
        ([NOTE, WEATHER], {"type": "allowed_tools", "allowed_tools": ALLOWED}, "weather"),
        ([NOTE, FLAT], {"type": "allowed_tools"} | ALLOWED, "weather"),
        ([NOTE], {"type": "function", "name": "other"}, None),
        ([SEARCH], None, None),
        (None, None, None),
    ],
)
def test_a_question_is_answered_by_the_tool_that_is_chosen(tools, choice, name):
    assert called(tools, choice) == name


def test_a_result_is_answered_by_a_text():
    assert called([WEATHER], is_question=False) is None


def test_a_call_that_is_required_is_one_that_was_not_made_before():
    assert called([WEATHER, NOTE], "required", is_question=False) == "weather"
    assert called([WEATHER, NOTE], "required", ["weather"], is_question=False) == "note"
    assert called([WEATHER, NOTE], "required", ["weather", "note"], is_question=False) == "note"


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ({}, None),
        ({"type": "text"}, None),
        ({"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}, SCHEMA),
        ({"type": "json_schema", "name": "city", "schema": SCHEMA}, SCHEMA),
    ],
)
def test_a_format_is_read_in_the_shape_of_either_route(form, schema):
    assert schema_asked(form) == schema


def test_a_json_object_has_an_answer():
    assert schema_asked({"type": "json_object"})["properties"].keys() == {"answer"}


def test_all_that_is_read_is_counted():
    assert Asked(texts=("a b", "c"), other_tokens=7).prompt_tokens(str.split) == 10
