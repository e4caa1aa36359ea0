"""Errors within answers, as callers may see them: without our key, our credit, or what else is between us and OpenAI.

A response of `/v1/responses` that failed is whole, and tells why.
"""

import json
import re
from typing import Any

from gptdock.errors import UpstreamError
from gptdock.upstream import complaints
from gptdock.upstream.answers import MOST_PARSED_BYTES
from gptdock.upstream.loose_json import as_object, parse

_ERROR = re.compile(rb'"error"\s*:\s*[^n\s]')  # no text of a model has this: there the quotes are escaped


def answer(raw: bytes, secret: str) -> bytes:
    """A whole answer. Raises UpstreamError if its error cannot be hidden."""
    # Embeddings may have 20 MB, in which this looks for 7 ms.
    if not _ERROR.search(raw):
        return raw
    if len(raw) > MOST_PARSED_BYTES:  # others would wait for it
        return raw.replace(secret.encode(), b"***")
    try:
        content = as_object(parse(raw))
    except ValueError:  # no JSON, so text
        return raw
    return raw if content is None else _hidden(raw, content, secret)


def event(raw: bytes, secret: str) -> bytes:
    """An event. Raises UpstreamError if its error cannot be hidden."""
    head, mark, data = raw.partition(b"data: ")
    return head + mark + answer(data.rstrip(b"\n"), secret) + b"\n\n"


def _hidden(raw: bytes, content: dict[str, Any], secret: str) -> bytes:
    shown = complaints.hidden(content, secret)
    try:
        return raw if shown is None else json.dumps(shown, separators=(",", ":")).encode()
    except RecursionError as exc:
        raise UpstreamError from exc
