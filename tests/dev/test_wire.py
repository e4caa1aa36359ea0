"""The simulated OpenAI answers in the format of the real one."""

from tests.harness.simulated import PROMPT_TOKENS, RECORDED, ask, ask_stream, chunks, read_stream


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
