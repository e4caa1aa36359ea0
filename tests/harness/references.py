"""Slow and literal implementations of the specifications, to compare the code with."""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from gptdock.prompt.ask import ChatRequest, Message

BOM = b"\xef\xbb\xbf"
STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
TOKEN = re.compile(rf"{STRING}|{NUMBER}|true|false|null|[^ \t\n\r]")
IDS = ("user_id", "client_id", "product_id")
LITERALS = {"true": True, "false": False, "null": None}


def dispatched(stream: bytes) -> list[bytes]:
    """The data of each event of a stream, by WHATWG HTML, section 9.2.6."""
    stream = stream.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events, buffer = [], b""
    for line in stream.split(b"\n")[:-1]:
        name, _, value = line.partition(b":")
        if not line:
            events += [buffer[:-1]] if buffer else []
            buffer = b""
        elif name == b"data":
            buffer += (value[1:] if value.startswith(b" ") else value) + b"\n"
    return events


def as_the_api_says(data: bytes | None) -> bytes:
    """An event with this data as OpenAI would send it; nothing without data."""
    if data is None:
        return b""
    if data[:1] == b"{" and b"\n" not in data:
        return b"data: %b\n\n" % data
    return b"data: %b\n\n" % data.replace(b"\n", b" ").strip()


def strict_json(body: bytes) -> Any:
    """The value in `body` by RFC 8259; no infinite numbers, no duplicate keys. Raises ValueError, RecursionError."""
    tokens = ["", *TOKEN.findall(body.decode("utf-8"))[::-1]]
    value = _value(tokens)
    if tokens != [""]:
        raise ValueError("text after the value")
    return value


def _value(tokens: list[str]) -> Any:
    token = tokens.pop() if len(tokens) > 1 else ""
    if token == "[":
        return list(_items(tokens, "]", _value))
    if token == "{":
        pairs = list(_items(tokens, "}", _pair))
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("duplicate key")
        return dict(pairs)
    return LITERALS[token] if token in LITERALS else _scalar(token)


def _items(tokens: list[str], end: str, item: Callable[[list[str]], Any]) -> Iterator[Any]:
    if tokens[-1] == end:
        tokens.pop()
        return
    while True:
        yield item(tokens)
        if tokens[-1] not in (end, ","):
            raise ValueError("expected a comma or the end")
        if tokens.pop() == end:
            return


def _pair(tokens: list[str]) -> tuple[str, Any]:
    name = _value(tokens)
    if not isinstance(name, str) or tokens[-1] != ":":
        raise ValueError("expected a key")
    tokens.pop()
    return name, _value(tokens)


def _scalar(token: str) -> Any:
    if re.fullmatch(STRING, token):
        return json.loads(token)
    if not re.fullmatch(NUMBER, token):
        raise ValueError("expected a value")
    if re.fullmatch(r"-?[0-9]+", token):
        return int(token)
    if not math.isfinite(float(token)):
        raise ValueError("number out of range")
    return float(token)


def request(body: bytes) -> ChatRequest | str:
    """The request in `body`, or the first `param` that is wrong, by the README's table of `POST /v1/ask`."""
    try:
        fields = strict_json(body)
    except ValueError:
        return "body"
    if not isinstance(fields, dict):
        return "body"
    for wrong in _wrong(fields):
        return wrong
    user_id, client_id, product_id = (str(fields[name]) for name in IDS)
    history = tuple(Message(turn["role"], turn["content"]) for turn in fields.get("history", []))
    return ChatRequest(fields["question"], user_id, client_id, product_id, fields.get("stream", False), history)


def _wrong(fields: dict[str, Any]) -> Iterator[str]:
    history = fields.get("history", [])
    if not _is_text(fields.get("question")) or not fields["question"].strip():
        yield "question"
    yield from (name for name in IDS if not _is_id(fields.get(name)))
    if not isinstance(fields.get("stream", False), bool):
        yield "stream"
    if not isinstance(history, list) or len(history) > 1000:
        yield "history"
        return
    for index, turn in enumerate(history):
        if not isinstance(turn, dict):
            yield f"history[{index}]"
        elif turn.get("role") not in ("user", "assistant", "system"):
            yield f"history[{index}].role"
        elif not _is_text(turn.get("content")):
            yield f"history[{index}].content"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and all(each != "\0" and unicodedata.category(each) != "Cs" for each in value)


def _is_id(value: object) -> bool:
    digits = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(digits, str) or any(unicodedata.category(each) in ("Cc", "Cs") for each in digits):
        return False
    return 1 <= len(digits.encode()) <= 255
