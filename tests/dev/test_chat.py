"""The simulated OpenAI answers chat completions in the format of the real one."""

from gptdock.dev.script import Script
from tests.harness.simulated import PROMPT_TOKENS, RECORDED, ask, ask_stream, chunks, read_stream, stream, text

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
NOTE = {"type": "custom", "custom": {"name": "note"}}


async def test_a_stream_is_role_tokens_finish_usage_and_done(server, session):
    async with ask_stream(server, session) as response:
        data = await response.read()

    role, *tokens, finish, usage = chunks(data)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [token["choices"][0]["delta"] for token in tokens] == [
        {"content": word} for word in ("one", " two", " three")
    ]
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"]) == ({}, "stop")
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == PROMPT_TOKENS + 3
    assert [chunk["usage"] for chunk in (role, *tokens, finish)] == [None] * 5
    assert data.endswith(b"\n\ndata: [DONE]\n\n")


async def test_a_stream_has_at_least_the_keys_of_a_recorded_one(server, session):
    recorded = chunks(RECORDED)

    data = await read_stream(server, session, stream_options=None)

    for theirs, ours in zip(
        (recorded[0], recorded[1], recorded[-1]), (chunks(data)[n] for n in (0, 1, -1)), strict=True
    ):
        assert theirs.keys() <= ours.keys()
        assert theirs["object"] == ours["object"]
        assert theirs["choices"][0].keys() <= ours["choices"][0].keys()
        assert theirs["choices"][0]["delta"].keys() <= ours["choices"][0]["delta"].keys()


async def test_usage_is_streamed_only_if_asked_for(server, session):
    data = await read_stream(server, session, stream_options=None)

    assert b"usage" not in data


async def test_a_whole_answer_is_one_object_with_usage(server, session):
    async with ask(server, session) as response:
        answer = await response.json()

    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "one two three", "refusal": None}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == PROMPT_TOKENS
    assert answer["usage"]["completion_tokens"] == 3


async def test_a_format_is_answered_by_json_that_fits(server, session):
    server.script = Script()
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}

    data, _ = await stream(server, session, response_format=form)

    assert text(data) == '{"city":"simulated city"}'
    assert server.journal[0].prompt_tokens > PROMPT_TOKENS


async def test_a_tool_is_called_as_openai_streams_it(server, session):
    server.script = Script()

    data = await read_stream(server, session, tools=[WEATHER])

    first, *pieces, finish, usage = chunks(data)
    [head] = first["choices"][0]["delta"]["tool_calls"]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None, "tool_calls": [head], "refusal": None}
    assert head["id"].startswith("call_")
    assert head == {"index": 0, "id": head["id"], "type": "function", "function": {"name": "weather", "arguments": ""}}
    calls = [piece["choices"][0]["delta"]["tool_calls"][0] for piece in pieces]
    assert [call.keys() for call in calls] == [{"index", "function"}] * 2
    assert "".join(call["function"]["arguments"] for call in calls) == '{"city":"simulated city"}'
    assert finish["choices"][0]["finish_reason"] == "tool_calls"
    assert usage["usage"]["completion_tokens"] == 1 + 2 == server.journal[0].generated


async def test_a_tool_is_called_in_a_whole_answer(server, session):
    server.script = Script()

    async with ask(server, session, tools=[NOTE]) as response:
        answer = await response.json()

    [choice] = answer["choices"]
    [call] = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert (call["type"], call["custom"]["name"]) == ("custom", "note")
    assert call["custom"]["input"]
    assert answer["usage"]["completion_tokens"] == server.journal[0].generated


async def test_the_result_of_a_tool_is_answered_by_a_text(server, session):
    server.script = Script()
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    asked = [{"role": "user", "content": "?"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    result = {"role": "tool", "tool_call_id": "1", "content": "sunny"}

    data = await read_stream(server, session, messages=[*asked, result], tools=[WEATHER])

    assert 'begins with "sunny"' in text(data)
    assert server.journal[0].prompt_tokens == 3 * 3 + 3 + 3 + 2 + 2 + 1  # texts, the call's two words, the tools' JSON


async def test_a_call_is_cut_at_the_limit(server, session):
    server.script = Script()

    cut = await read_stream(server, session, tools=[WEATHER], max_completion_tokens=2)
    whole = await read_stream(server, session, tools=[WEATHER], max_completion_tokens=3)

    assert [chunks(data)[-2]["choices"][0]["finish_reason"] for data in (cut, whole)] == ["length", "tool_calls"]
    assert [record.generated for record in server.journal] == [2, 3]
