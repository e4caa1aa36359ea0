"""Pure: the generated text in a chunk or a whole answer.

Generated text is known in these fields of a choice:

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

A value of an unexpected type in one of these fields is read for what is text in it.

Other upstreams write text elsewhere. Any other string may be such text: in a choice always, unless it repeats known
text, and in the rest of the answer if no text is known in it. The fields that `_NEVER_TEXT` names have none.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_PARTS = ("text", "refusal", "thinking", "summary", "content")  # of a part that is an object: the first with text
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")
_MOST_DEPTH = 8  # of parts within parts
_NEVER_TEXT = re.compile(
    r"(?:.*_)?(?:id|ids|type|status|role|model|reason|fingerprint|tier|signature|results?|annotations?|at|format|url)"
    r"|object|index|logprobs|obfuscation|usage|provider|created|finish|matched_stop|name|event|audio|images?"
    r"|citations|extra_content|encrypted_content|metadata|provider_(?:metadata|specific_fields)|time(?:stamp)?|date"
    r"|related_questions|x_groq|error|content_filter_.*|version|state|stage|phase"
)
_ENCRYPTED = re.compile(r"encrypted|redacted")  # the type of thoughts that nobody can read or count
_LONG_NAME = 64  # characters
_SHORT = 1024  # characters of known text in which a repetition is looked for
_SIGNS_OF_LIFE = frozenset({"ping", "pong", "heartbeat", "keepalive", "keep-alive", "processing"})


def text_of(answer: object) -> str:
    """All generated text in a chunk or a whole answer, of whatever type it is."""
    choices = _get(answer, "choices")
    return "".join([_of_choice(choice) for choice in _items(choices) if isinstance(choice, dict)]) if choices else ""


def unknown_text_of(answer: object, known: str) -> str:
    """What may be text in a chunk or an answer, of any type, besides the text that is `known` in it."""
    if not isinstance(answer, dict) or not known:
        return _strings([answer], known)
    others = [_besides(choice) for choice in _items(answer.get("choices")) if not _is_usual(choice)]
    return _strings(others, known) if others else ""


def sums_up(answer: dict[str, Any]) -> bool:
    """Whether the text in a chunk is only a summary of thoughts, as OpenRouter marks it."""
    deltas = [_get(choice, "delta") for choice in _items(answer.get("choices"))]
    return any(isinstance(each, dict) and "reasoning_details" in each and _is_summary(each) for each in deltas)


def _is_summary(delta: dict[str, Any]) -> bool:
    kinds = [_get(each, "type") for each in _items(delta["reasoning_details"])]
    return "reasoning.summary" in kinds and not any(read(delta.get(name)) for name, read in _READERS.items())


def _is_usual(choice: object) -> bool:
    """Whether a choice beside text has no fields but the usual ones: so most have, and need no more of a look."""
    if not isinstance(choice, dict) or not choice.keys() <= _USUAL:
        return False
    delta = choice.get("delta")
    return isinstance(delta, dict) and delta.keys() <= _KNOWN


def _besides(choice: object) -> object:
    """A choice without the fields in which text is known, and without a message beside a delta with text."""
    if not isinstance(choice, dict):
        return choice
    delta, message = choice.get("delta"), choice.get("message")
    told = delta if _of_message(delta) else message if _of_message(message) else delta or message
    rest = {name: value for name, value in choice.items() if name not in ("delta", "message", "text")}
    more = {name: each for name, each in told.items() if name not in _KNOWN} if isinstance(told, dict) else told
    return [rest, more]


def _strings(values: list[Any], known: str) -> str:
    """All strings in these values but those that are no text or in `known`; without recursion, so of any depth."""
    found, pending = [], values[::-1]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            if value != known and value not in _SIGNS_OF_LIFE and not (len(known) <= _SHORT and value in known):
                found.append(value)
        elif isinstance(value, list):
            pending += [each for each in reversed(value) if isinstance(each, str | list | dict)]
        elif isinstance(value, dict) and not _is_encrypted(value.get("type")):
            pending += [each for name, each in reversed(value.items()) if each and not _is_never_text(name)]
    return "".join(found)


@lru_cache(maxsize=512)
def _is_never_text(name: str) -> bool:
    return _NEVER_TEXT.fullmatch(name[:_LONG_NAME]) is not None


def _is_encrypted(kind: object) -> bool:
    return isinstance(kind, str) and _ENCRYPTED.search(kind) is not None


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
_KNOWN = frozenset({*_READERS, *_THOUGHTS, "role"})
_USUAL = frozenset({"index", "delta", "finish_reason", "logprobs"})
