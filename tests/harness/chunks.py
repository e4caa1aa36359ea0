"""The chunks of an answer, as events, and a meter that reads them."""

import json

from gptdock.routes.chat_answers import FORMAT
from gptdock.upstream.meter import Meter
from gptdock.upstream.sse import Event

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
ODD_USAGES = [
    {},
    "many",
    7,
    [],
    True,
    {"total_tokens": None},
    {"total_tokens": -1},
    {"total_tokens": "7"},
    {"total_tokens": 7.5},
    {"total_tokens": True},
    {"total_tokens": 10**9 + 1},
    {"prompt_tokens": 5},
]


def event(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Event(b"data: " + data + b"\n\n", data)


def chunk(content=None, /, **delta):
    delta |= {} if content is None else {"content": content}
    return {"id": "c-1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def usage_chunk(usage=USAGE):
    return {"id": "c-1", "choices": [], "usage": usage}


def read(*datas, show_usage=False):
    """A meter that has read `datas`, and whether it showed each of them."""
    reader = Meter(FORMAT, show_usage=show_usage)
    return reader, [reader.read(event(data)) for data in datas]
