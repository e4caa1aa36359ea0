"""What the model reads costs no less because it stands inside JSON: text, and tools however small."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptdock.routes.chat import CompletionRequest, count_besides
from gptdock.routes.embeddings import EmbeddingRequest
from gptdock.routes.requests import Request
from gptdock.routes.responses import ResponseRequest

USER = {"role": "user", "content": "Why?"}
CHEAP = r"}\ré}}\ré}}\ré}}\ré}}\rx ".replace(r"\r", "\r") * 30  # as JSON, 2 tokens for 3
CONTROLS = [*'\r\b\f\t\n"\\{}[]<>()/:;,ubfnrtxé0a ', "x08", "\\u", "}}", "\r\n", "☃"]
TEXT = st.text() | st.tuples(st.lists(st.sampled_from(CONTROLS), max_size=8), st.integers(1, 20)).map(
    lambda drawn: "".join(drawn[0]) * drawn[1]
)


def chat(*messages: Any, **fields: Any) -> Request:
    body = {"model": "m", "messages": [USER, *messages]} | fields
    return CompletionRequest.from_json(json.dumps(body).encode(), ["m"], ["more"])


def responses(*items: Any, **fields: Any) -> Request:
    return ResponseRequest.from_json(
        json.dumps({"model": "m", "input": [USER, *items]} | fields).encode(), ["m"], ["more"]
    )


def embedding(**fields: Any) -> Request:
    return EmbeddingRequest.from_json(json.dumps({"model": "m", "input": "a"} | fields).encode(), ["m"], ["more"])


def function(text: str) -> dict[str, Any]:
    return {"name": "f", "description": text}


PLACES: dict[str, Callable[[str], Request]] = {
    "chat, call": lambda text: chat({"role": "assistant", "tool_calls": [{"function": {"arguments": text}}]}),
    "chat, name": lambda text: chat({"role": "user", "content": "a", "name": text}),
    "chat, key": lambda text: chat({"role": "user", "content": "a", "more": {text: 1}}),
    "chat, part": lambda text: chat({"role": "user", "content": [{"type": "text", "text": text}]}),
    "chat, beside a part": lambda text: chat({"role": "user", "content": [{"type": "text", "text": "", "more": text}]}),
    "chat, tool": lambda text: chat(tools=[{"type": "function", "function": function(text)}]),
    "chat, function": lambda text: chat(functions=[function(text)]),
    "chat, format": lambda text: chat(response_format={"type": "json_schema", "json_schema": {"schema": {text: {}}}}),
    "chat, prediction": lambda text: chat(prediction={"type": "content", "content": text}),
    "chat, passed": lambda text: chat(more=[text]),
    "responses, text": lambda text: responses({"role": "user", "content": text}),
    "responses, part": lambda text: responses({"role": "user", "content": [{"type": "input_text", "text": text}]}),
    "responses, refusal": lambda text: responses({"role": "user", "content": [{"type": "refusal", "refusal": text}]}),
    "responses, beside": lambda text: responses({"role": "user", "content": "a", "more": text}),
    "responses, image": lambda text: responses(
        {"role": "user", "content": [{"type": "input_image", "image_url": "a", "more": text}]}
    ),
    "responses, call": lambda text: responses({"type": "function_call", "name": "f", "arguments": text}),
    "responses, output": lambda text: responses({"type": "custom_tool_call_output", "output": text}),
    "responses, thought": lambda text: responses({"type": "reasoning", "summary": [{"text": text}]}),
    "responses, instructions": lambda text: responses(instructions=text),
    "responses, tool": lambda text: responses(tools=[{"type": "custom", **function(text)}]),
    "responses, format": lambda text: responses(text={"format": {"type": "json_schema", "schema": {"a": text}}}),
    "responses, passed": lambda text: responses(more=text),
    "embeddings, passed": lambda text: embedding(more=text),
}


@pytest.mark.parametrize("place", PLACES)
def test_text_that_is_cheap_as_json_costs_what_the_model_reads(tokens, place: str):
    empty, full = (sum(PLACES[place](text).cost(tokens.count)) for text in ("", CHEAP))

    assert full - empty >= tokens.count(CHEAP) - 3  # what stood around an empty text may become one with it


@given(st.sampled_from(list(PLACES)), TEXT)
@example("responses, part", CHEAP)
def test_any_text_costs_its_tokens_wherever_it_stands(tokens, place: str, text: str):
    assert sum(PLACES[place](text).cost(tokens.count)) >= tokens.count(text)


@pytest.mark.parametrize("number", [1, 2, 16, 128])
def test_the_smallest_tools_cost_what_openai_counts_for_them(tokens, number: int):
    functions = [{"name": f"f{index}"} for index in range(number)]
    tools = [{"type": "function", "function": each} for each in functions]
    flat = [{"type": "function", **each} for each in functions]
    asked = [(chat(functions=functions), chat()), (chat(tools=tools), chat()), (responses(tools=flat), responses())]

    costs = [sum(with_tools.cost(tokens.count)) - sum(bare.cost(tokens.count)) for with_tools, bare in asked]
    costs.append(count_besides({"tools": tools}, tokens.count))

    # https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, for gpt-4o
    assert min(costs) >= 12 + sum(7 + tokens.count(f"{each['name']}:") for each in functions)


def test_an_answer_may_be_large_by_its_vectors_or_likely_tokens_alone():
    logprobs: dict[str, Any] = {"logprobs": True, "top_logprobs": 2}
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "Why?"}]}
    likely: dict[str, Any] = {"include": ["message.output_text.logprobs"]}

    def size(request: Any, **fields: Any) -> int:
        asked: Request = request.from_json(json.dumps({"model": "m"} | fields).encode(), ["m"])
        return asked.answer_bytes(10)

    chats = [
        {},
        logprobs,
        logprobs | {"stream": True},
        {"logprobs": True},
        {"top_logprobs": 2},
        logprobs | {"top_logprobs": 99},
    ]
    assert [size(CompletionRequest, **chat, **each) for each in chats] == [0, 9000, 0, 3000, 0, 21 * 3000]
    responses = [{}, likely, likely | {"top_logprobs": 2}, likely | {"top_logprobs": 2, "stream": True}]
    assert [size(ResponseRequest, input="Why?", **each) for each in responses] == [0, 3000, 9000, 3300]
    assert size(EmbeddingRequest, input="Why?", dimensions=10) == 10 * 32
