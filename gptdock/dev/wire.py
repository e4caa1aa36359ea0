"""What all routes of OpenAI have in common on the wire: events, and errors."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

_ERRORS = {
    400: ("invalid_request_error", None, "We could not parse your request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "unknown_url", "Invalid URL."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
}
_OTHER_ERROR = ("server_error", None, "The server had an error while processing your request. Sorry about that!")


class Event(NamedTuple):
    """The bytes of one server-sent event, and the generated tokens, the embedded texts and the usage in it."""

    data: bytes
    tokens: int = 0
    embedded: int = 0
    usage: Any = None


class Reply(Protocol):
    """An answer in the format of one route, of which a script may send only a part."""

    @property
    def usage(self) -> Any:
        """The usage of a whole answer, as reported; None if it is not."""

    @property
    def before_usage(self) -> int:
        """The number of events before the one with the usage."""

    @property
    def before_end(self) -> int:
        """The number of events before the last."""

    def steps(self) -> Iterator[Event]:
        """How a whole answer is made: events without data."""

    def to_json(self) -> bytes:
        """The body of a whole answer, in UTF-8."""

    def events(self) -> Iterator[Event]:
        """The body of a streamed answer, event by event."""

    def error_event(self, error: Any, *, index: int, generated: int) -> Event:
        """An error in place of the event `index`, once so many tokens were generated."""


def error_body(status: int, error: Any = None) -> bytes:
    """The body of an answer with this error status; `error` defaults to what OpenAI would say."""
    return json.dumps({"error": error_of(status) if error is None else error}).encode()


def error_of(status: int) -> dict[str, Any]:
    """What OpenAI would say with this status."""
    kind, code, message = _ERRORS.get(status, _OTHER_ERROR)
    return {"message": message, "type": kind, "param": None, "code": code}


def event(data: str, line_ending: str, name: str | None = None) -> Event:
    """A server-sent event with this data, and this name if it has one."""
    head = "" if name is None else f"event: {name}{line_ending}"
    return Event(f"{head}data: {data}{line_ending}{line_ending}".encode())
