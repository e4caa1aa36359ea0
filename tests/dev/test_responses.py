"""The simulated OpenAI answers the Responses API in the format of the real one, judged by the types of its package."""

import json

import pytest

from gptdock.dev.script import Script
from tests.harness.openai_types import check_event, check_response
from tests.harness.simulated import KEY, read

ASKED = {"model": "gpt-4o-mini", "input": "How are you?", "user": "77"}
PROMPT_TOKENS = 3 + 1 + 3 + 3
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "name": "weather", "parameters": CITY}
NOTE = {"type": "custom", "name": "note"}
FORM = {"format": {"type": "json_schema", "name": "city", "schema": CITY}}


async def ask(server, session, **more):
    async with session.post(f"{server.url}/responses", json=ASKED | more, headers=KEY) as response:
        return await response.json()


async def stream(server, session, **more):
    """The events of a stream, each judged, and whether its body ended properly."""
    async with session.post(f"{server.url}/responses", json=ASKED | {"stream": True} | more, headers=KEY) as response:
        data, is_whole = await read(response)
    events = []
    for text in data.decode().split("\n\n")[:-1]:
        name, line = text.split("\n")
        events.append(json.loads(line.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
        if events[-1]["type"] != "error":  # of which the types know another shape than what comes
            check_event(events[-1])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events, is_whole


def kinds(events):
    return [event["type"].removeprefix("response.") for event in events]


async def test_a_stream_of_text_has_the_events_of_the_real_one(server, session):
    events, _ = await stream(server, session)

    assert kinds(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *["output_text.delta"] * 3,
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert "".join(event.get("delta", "") for event in events) == "one two three"
    assert events[-1]["response"]["usage"]["output_tokens"] == 3
    assert events[-1]["response"]["usage"]["total_tokens"] == PROMPT_TOKENS + 3 == server.journal[0].spent
    assert server.journal[0].usage == events[-1]["response"]["usage"]


async def test_a_whole_response_is_what_a_stream_ends_with(server, session):
    whole = await ask(server, session)
    events, _ = await stream(server, session)

    check_response(whole)
    assert whole["output"][0]["content"][0]["text"] == "one two three"
    assert whole["usage"] == events[-1]["response"]["usage"]
    assert whole.keys() == events[-1]["response"].keys()
    assert server.journal[0].id == whole["id"]


@pytest.mark.parametrize(
    ("tool", "name", "field"),
    [(WEATHER, "function_call_arguments", "arguments"), (NOTE, "custom_tool_call_input", "input")],
)
async def test_a_tool_is_called_with_the_events_of_the_real_one(server, session, tool, name, field):
    server.script = Script()

    events, _ = await stream(server, session, tools=[tool])

    counts = [kinds(events).count(f"{name}.{end}") for end in ("delta", "done")]
    [item] = events[-1]["response"]["output"]
    assert kinds(events)[:3] == ["created", "in_progress", "output_item.added"]
    assert kinds(events)[-3:] == [f"{name}.done", "output_item.done", "completed"]
    assert "".join(event.get("delta", "") for event in events) == item[field] == events[-3][field]
    assert (item["name"], counts) == (tool["name"], [server.journal[0].generated - 1, 1])
    assert events[-1]["response"]["usage"]["output_tokens"] == server.journal[0].generated


async def test_arguments_and_formats_fit_their_schemas(server, session):
    server.script = Script()

    call = await ask(server, session, tools=[WEATHER], tool_choice={"type": "function", "name": "weather"})
    value = await ask(server, session, text=FORM)

    check_response(call)
    check_response(value)
    assert json.loads(call["output"][0]["arguments"]) == {"city": "simulated city"}
    assert json.loads(value["output"][0]["content"][0]["text"]) == {"city": "simulated city"}


async def test_the_output_of_a_tool_is_answered_by_a_text(server, session):
    server.script = Script()
    question = {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}
    call = {"type": "function_call", "call_id": "1", "name": "weather", "arguments": '{"city": "Rome"}'}
    output = {"type": "function_call_output", "call_id": "1", "output": "sunny"}

    whole = await ask(server, session, instructions="Be brief.", input=[question, call, output], tools=[WEATHER])

    assert 'begins with "sunny"' in whole["output"][0]["content"][0]["text"]
    # Instructions and three items; their roles, words and the call; the tools as JSON, which is one word.
    assert whole["usage"]["input_tokens"] == 3 * 4 + 3 + (1 + 2) + (1 + 1) + (1 + 2) + 1 + 1


async def test_a_response_is_incomplete_at_its_limit(server, session):
    events, _ = await stream(server, session, max_output_tokens=2)
    whole = await ask(server, session, max_output_tokens=2)

    for response in (whole, events[-1]["response"]):
        check_response(response)
        assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert (response["output"][0]["status"], response["usage"]["output_tokens"]) == ("incomplete", 2)
    assert events[-1]["type"] == "response.incomplete"


async def test_an_error_is_an_event_as_it_really_comes(server, session):
    server.script = Script(answer="one two three", error_at=5, error={"code": "invalid_prompt", "message": "No."})

    events, is_whole = await stream(server, session)

    assert is_whole
    told = {"type": "server_error", "code": "invalid_prompt", "message": "No.", "param": None}
    assert events[-1] == {"type": "error", "sequence_number": 5, "error": told}
    assert (server.journal[0].generated, server.journal[0].usage, server.journal[0].completed) == (1, None, False)


@pytest.mark.parametrize(("usage", "told"), [(True, PROMPT_TOKENS + 1), (False, None)])
async def test_a_response_that_fails_may_tell_what_it_used(server, session, usage, told):
    server.script = Script(answer="one two three", error_at=5, failed=True, usage=usage)

    events, _ = await stream(server, session)
    whole = await ask(server, session)

    response = events[-1]["response"]
    check_response(whole)
    assert (events[-1]["type"], response["status"], whole["status"]) == ("response.failed", "failed", "failed")
    assert response["error"]["code"] == whole["error"]["code"] == "server_error"
    assert (response["usage"] and response["usage"]["total_tokens"]) == told


@pytest.mark.parametrize(("cut_at", "last"), [(5, "output_text.delta"), (None, "output_item.done")])
async def test_a_stream_may_be_cut(server, session, cut_at, last):
    server.script = Script(answer="one two three", cut="close", cut_at=cut_at)

    events, is_whole = await stream(server, session)

    assert (is_whole, kinds(events)[-1], server.journal[0].usage) == (False, last, None)


@pytest.mark.parametrize("body", [{}, {"input": []}, {"input": ["hi"]}, {"input": 7}])
async def test_a_malformed_body_is_a_400(server, session, body):
    async with session.post(f"{server.url}/responses", json=body, headers=KEY) as response:
        assert response.status == 400
    assert server.journal == []
