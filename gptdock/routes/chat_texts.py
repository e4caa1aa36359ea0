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

Calls come in other forms, too: an object for a list, arguments that are parsed, `name` and `arguments` in the call
itself. Of parsed arguments the JSON counts. Of any other value of an unexpected type the strings may be text.

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
_LONG_NAME, _SHORT = 64, 1024  # characters; of the latter is known text in which a repetition is looked for
_CALLS = ("function", "custom")
_WRITTEN = ("arguments", "input", "parameters", "args")  # of a call: some upstreams send them parsed
_OF_CALL = frozenset({*_CALLS, *_WRITTEN, "name", "index", "id", "type"})
_SIGNS_OF_LIFE = frozenset({"ping", "pong", "heartbeat", "keepalive", "keep-alive", "processing"})


def text_of(answer: object) -> str:
    """All generated text in a chunk or a whole answer, of whatever type it is."""
    choices = _get(answer, "choices")
    return "".join([_of_choice(choice) for choice in _items(choices) if isinstance(choice, dict)]) if choices else ""


def unknown_text_of(answer: object, known: str) -> str:
    """What may be text in a chunk or an answer, of any type, besides the text that is `known` in it."""
    if not isinstance(answer, dict) or not (known or _is_empty(answer)):
        return _strings([answer], known)
    others = [_besides(choice) for choice in _items(answer.get("choices")) if not _is_usual(choice)]
    return _strings(others, known) if others else ""


def sums_up(answer: dict[str, Any]) -> bool:
    """Whether the text in a chunk is only a summary of thoughts, as OpenRouter marks it."""
    return any(_is_summary(_get(choice, "delta")) for choice in _items(answer.get("choices")))


def _is_summary(delta: Any) -> bool:
    kinds = [_get(each, "type") for each in _items(_get(delta, "reasoning_details"))]
    return "reasoning.summary" in kinds and not any(read(delta.get(name)) for name, read in _READERS.items())


def is_usual(chunk: dict[str, Any]) -> bool:
    """Whether a chunk has the usual fields and values alone: besides its text it tells a usage at most, or an error."""
    choices = chunk.get("choices")
    return isinstance(choices, list) and chunk.keys() <= _OF_A_CHUNK and all(map(_is_usual, choices))


def _is_empty(chunk: dict[str, Any]) -> bool:
    """Whether a chunk is a usual one without text, as the first and the last of each stream."""
    if not is_usual(chunk):
        return False
    return all(name == "role" or not value for choice in chunk["choices"] for name, value in choice["delta"].items())


def _is_usual(choice: object) -> bool:
    """Whether a choice beside text has no fields but the usual ones: so most have, and need no more of a look."""
    delta = choice.get("delta") if isinstance(choice, dict) and choice.keys() <= _USUAL else None
    return isinstance(delta, dict) and delta.keys() <= _KNOWN and all(map(_is_usual_field, delta, delta.values()))


def _is_usual_field(name: str, value: object) -> bool:
    if name == "tool_calls" and isinstance(value, list):
        return None not in map(_usual_call, value)
    return not value or (isinstance(value, str) and name not in ("tool_calls", "function_call"))


def _usual_call(call: object) -> str | None:
    """The text of a call of OpenAI's form; None of any other."""
    function = call.get("function") if isinstance(call, dict) and call.keys() <= _USUAL_CALL else None
    if not isinstance(function, dict) or not function.keys() <= _USUAL_FUNCTION:
        return None
    name, arguments = function.get("name") or "", function.get("arguments") or ""
    return name + arguments if isinstance(name, str) and isinstance(arguments, str) else None


def _besides(choice: object) -> object:
    """A choice without its known text, and without a message beside a delta with text."""
    if not isinstance(choice, dict):
        return choice
    delta, message = choice.get("delta"), choice.get("message")
    told = delta if _of_message(delta) else message if _of_message(message) else delta or message
    rest = {name: value for name, value in choice.items() if name not in ("delta", "message", "text")}
    if not isinstance(told, dict):
        return [rest, told]
    return [rest, {name: each for name, each in told.items() if name not in _KNOWN}, _odd_in(told)]


def _odd_in(message: dict[str, Any]) -> list[Any]:
    """What stands in the known fields of a message, and is not read as text there."""
    parts = [part for name in ("content", "refusal") for part in _as_list(message.get(name)) if not _flat(part)]
    calls = [*_calls(message.get("tool_calls")), message.get("function_call")]
    thoughts = [] if _first(message, _THOUGHTS) else [message.get(name) for name in _THOUGHTS]
    return [*parts, *[_odd_of_call(call) for call in calls], *thoughts]


def _odd_of_call(call: object) -> object:
    if isinstance(call, list):
        return [_odd_of_call(each) for each in call]
    if not isinstance(call, dict):
        return call
    odd = [value for name, value in call.items() if name not in _OF_CALL]
    return odd + [_odd_of_call(call[name]) for name in _CALLS if name in call]


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
    return _of_text(choice["text"]) + text if "text" in choice else text


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
    if isinstance(calls, list) and len(calls) == 1 and (text := _usual_call(calls[0])) is not None:
        return text
    return "".join([_of_call(call) for call in _calls(calls)])


def _calls(calls: object) -> list[Any]:
    if isinstance(calls, dict) and calls and not calls.keys() & _OF_CALL:  # by their index
        return list(calls.values())
    return _as_list(calls)


def _of_call(call: object) -> str:
    """The text of a call, or of the `function` in it."""
    if isinstance(call, list):
        return "".join([_of_call(each) for each in call])
    if not isinstance(call, dict):
        return ""
    within = "".join([_of_call(call[name]) for name in _CALLS if name in call])
    return _of_text(call.get("name")) + "".join([written(call[name]) for name in _WRITTEN if name in call]) + within


def _of_text(value: object) -> str:
    return value if isinstance(value, str) else _flat(value) or _strings([value], "")


def written(arguments: object) -> str:
    """The arguments of a call as the model wrote them, also if they come parsed."""
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False) if arguments else ""


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


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _items(value: object) -> list[Any]:
    """A list as it is; some upstreams send an object where a list of one belongs."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


_READERS: dict[str, Callable[[Any], str]] = {
    "content": _flat,
    "refusal": _flat,
    "function_call": _of_call,
    "tool_calls": _of_calls,
    "audio": lambda audio: _flat(_get(audio, "transcript")),
}
_KNOWN = frozenset({*_READERS, *_THOUGHTS, "role"})
_USUAL_CALL = frozenset({"index", "id", "type", "function"})
_USUAL_FUNCTION = frozenset({"name", "arguments"})
_USUAL = frozenset({"index", "delta", "finish_reason", "logprobs"})
_OF_A_CHUNK = frozenset({"choices", "created", "id", "model", "object", "obfuscation", "service_tier", "usage"})
_OF_A_CHUNK |= {"system_fingerprint"}
