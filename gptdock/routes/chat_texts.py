"""Pure: the generated text in a chunk or a whole answer.

Generated text is known in these fields of a choice; all others say nothing about text, of whatever type they are:

    text                                    of the older completions
    delta, otherwise message
        content, refusal                    text, or a list of parts with `text`, `refusal` or `thinking`
        reasoning_content, reasoning,       the first of them that has text: upstreams repeat it under several names
          reasoning_details,
          thinking_blocks
        function_call                       `name` and `arguments`
        tool_calls[].function               `name` and `arguments`
        tool_calls[].custom                 `name` and `input`
        audio                               `transcript`

A value of an unexpected type in one of these fields is read for what is text in it, and otherwise says nothing, too.
"""

import json
from collections.abc import Callable
from typing import Any

_PARTS = ("text", "refusal", "thinking", "summary", "content")  # of a part that is an object: the first with text
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")
_MOST_DEPTH = 8  # of parts within parts


def text_of(answer: object) -> str:
    """All generated text in a chunk or a whole answer, of whatever type it is."""
    choices = _get(answer, "choices")
    return "".join([_of_choice(choice) for choice in _items(choices) if isinstance(choice, dict)]) if choices else ""


def _of_choice(choice: dict[str, Any]) -> str:
    text = _of_message(choice.get("delta")) or _of_message(choice.get("message"))
    return _flat(choice["text"]) + text if "text" in choice else text


def _of_message(message: object) -> str:
    if not isinstance(message, dict):
        return ""
    texts, thinks = [], False
    for name, value in message.items():
        if value and (read := _READERS.get(name)):
            texts.append(read(value))
        elif name in _THOUGHTS:
            thinks = True
    if thinks:
        texts.append(_first(message, _THOUGHTS))
    return "".join(texts)


def _of_calls(calls: object) -> str:
    return "".join([_of_function(_get(call, "function")) + _of_custom(_get(call, "custom")) for call in _items(calls)])


def _of_function(function: object) -> str:
    if not isinstance(function, dict):
        return ""
    arguments = function.get("arguments")
    if arguments and isinstance(arguments, dict | list):  # some upstreams send them parsed
        arguments = json.dumps(arguments)
    return _flat(function.get("name")) + _flat(arguments)


def _of_custom(custom: object) -> str:
    return _flat(custom.get("name")) + _flat(custom.get("input")) if isinstance(custom, dict) else ""


def _flat(value: object, depth: int = _MOST_DEPTH) -> str:
    if isinstance(value, str):
        return value
    if not value or not depth:
        return ""
    if isinstance(value, list):
        return "".join([_flat(each, depth - 1) for each in value])
    return _first(value, _PARTS, depth - 1) if isinstance(value, dict) else ""


def _first(value: dict[str, Any], names: tuple[str, ...], depth: int = _MOST_DEPTH) -> str:
    return next((text for name in names if (text := _flat(value.get(name), depth))), "")


def _get(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _items(value: object) -> list[Any]:
    """A list as it is; some upstreams send an object where a list of one belongs."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


_READERS: dict[str, Callable[[Any], str]] = {
    "content": _flat,
    "refusal": _flat,
    "function_call": _of_function,
    "tool_calls": _of_calls,
    "audio": lambda audio: _flat(_get(audio, "transcript")),
}
