"""Properties that hold for any bytes; hypothesis and the fuzzer (`tests.long.fuzz`) search for counterexamples.

A property raises AssertionError for an input that breaks it.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from gptdock.errors import InvalidRequest, PromptTooLong
from gptdock.prompt import ask
from gptdock.prompt.ask import ChatRequest
from gptdock.routes.chat_answers import FORMAT
from gptdock.settings import MOST_ANSWER_TOKENS
from gptdock.upstream.meter import Meter, is_chunk
from gptdock.upstream.sse import Event, EventSplitter, EventTooLarge
from tests.harness import references


def cut(stream: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """The stream in pieces of these sizes, and the rest as the last one."""
    start = 0
    for size in sizes:
        yield stream[start : start + size]
        start += size
    yield stream[start:]


def split(stream: bytes, sizes: Iterable[int] = ()) -> list[Event]:
    """The events of a stream that arrives in pieces of these sizes."""
    splitter = EventSplitter()
    return [event for data in cut(stream, sizes) for event in splitter.feed(data)]


def datas(events: Iterable[Event]) -> list[bytes]:
    """The data of all events that have any."""
    return [event.data for event in events if event.data is not None]


# -------------------------------------------------------------------------------------------------------- the splitter


def splits_as_specified(stream: bytes, sizes: list[int]) -> None:
    """However a stream is cut, its events are those of the specification, and each is one line and a blank one."""
    splitter = EventSplitter()

    events = [event for data in cut(stream, sizes) for event in splitter.feed(data)]

    assert datas(events) == references.dispatched(stream)
    assert [event.raw for event in events] == [references.as_the_api_says(event.data) for event in events]


def limits_what_is_pending(stream: bytes, sizes: list[int], limit: int) -> None:
    """A splitter with a limit yields the same events, and raises EventTooLarge once more than the limit is pending."""
    splitter, free = EventSplitter(limit), EventSplitter()
    for data in cut(stream, sizes):
        events = free.feed(data)
        try:
            assert splitter.feed(data) == events
            assert events or len(free.pending) <= limit
        except EventTooLarge:
            assert not events
            assert len(free.pending) > limit
            return


# ------------------------------------------------------------------------------------------------------ the front door


def admits_what_the_contract_allows(body: bytes) -> None:
    """A body becomes the same request as in the reference, or a 400 that names the first wrong field."""
    got = _admitted(body)

    if isinstance(got, ChatRequest):
        for budget in (20, len(body)):
            _becomes_a_prompt(got, budget)
    else:
        assert (got.status, got.code, bool(str(got))) == (400, "invalid_request", True)
        assert got.param
    with suppress(RecursionError):  # too deep for the reference; json's limit depends on the version of Python
        assert references.request(body) == (got if isinstance(got, ChatRequest) else got.param)


def _admitted(body: bytes) -> ChatRequest | InvalidRequest:
    try:
        return ChatRequest.from_json(body)
    except InvalidRequest as error:
        return error


def _becomes_a_prompt(request: ChatRequest, budget: int) -> None:
    try:
        prompt = ask.assemble(request, head=ask.head("Be kind.", len), max_prompt_tokens=budget, count=len)
    except PromptTooLong:
        return
    body = ask.upstream_body(prompt, model="m", params={}, stream=request.stream, max_completion_tokens=1)
    assert prompt.tokens <= budget
    assert json.loads(body)["messages"] == [message._asdict() for message in prompt.messages]
    assert prompt.messages[-1].content == request.question


# ----------------------------------------------------------------------------------------------------------- the meter


def meters_without_fail(stream: bytes, sizes: list[int], *, show_usage: bool) -> None:
    """A stream is metered alike however it is cut, whenever its text is read, and whether or not an event is read by
    the shape of an earlier one; any JSON object may be an answer.
    """
    events = datas(split(stream, sizes))
    states = [_state_after(map(_as_sent, events), show_usage, ask_early) for ask_early in (False, True)]

    for data in events:
        if (answer := _object(data)) is not None:
            _meters_an_answer(answer, data)
    if not any(map(_is_deep, events)):
        assert states[0] == states[1] == _state_after(map(_without_a_shape, events), show_usage, ask_early=False)
        assert states[0][-1] == "".join(map(_text_alone, _until_the_end(events)))
        for data in events:
            could_be_chunk = _is_done(data) or (_is_json(data) and data.strip()[:1] in (b"{", b"["))
            assert is_chunk(Event(b"", data)) <= could_be_chunk
            assert is_chunk(Event(b"", data)) or _object(data) is None


def _as_sent(data: bytes) -> Event:
    return Event(b"data: %b\n\n" % data, data)


def _without_a_shape(data: bytes) -> Event:
    return Event(b"", data)


def _state_after(events: Iterable[Event], show_usage: bool, ask_early: bool) -> tuple[Any, ...]:
    meter, shown, text = Meter(FORMAT, show_usage=show_usage), [], ""
    for event in events:
        shown.append(meter.read(event))
        if ask_early:
            assert meter.text().startswith(text)
            text = meter.text()
    _is_sane(meter)
    return shown, meter.usage, meter.odd_usage, meter.error is None, meter.begun, meter.done, meter.text()


def _text_alone(data: bytes) -> str:
    meter = Meter(FORMAT)
    meter.read(_without_a_shape(data))
    assert _is_json(data) or data.isspace() or meter.text() == data.decode("utf-8", "replace")
    return meter.text()


def _meters_an_answer(answer: dict[str, Any], raw: bytes) -> None:
    meter = Meter(FORMAT)
    meter.read_answer(answer, raw)
    assert meter.done
    _is_sane(meter)


def _is_sane(meter: Meter) -> None:
    assert all(0 <= tokens <= MOST_ANSWER_TOKENS for tokens in meter.usage or ())
    assert meter.error is None or isinstance(meter.error, dict)


def _until_the_end(events: list[bytes]) -> Iterator[bytes]:
    """Those before [DONE], and before what follows an error."""
    meter = Meter(FORMAT)
    for data in itertools.takewhile(lambda data: not _is_done(data), events):
        if meter.error is not None:
            return
        yield data
        meter.read(_without_a_shape(data))


def _is_done(data: bytes) -> bool:
    return data.strip() == b"[DONE]"


def _is_deep(data: bytes) -> bool:
    # Near json's recursion limit, the result depends on the depth of the calling frame.
    return data.count(b"[") + data.count(b"{") > 500


def _object(data: bytes) -> dict[str, Any] | None:
    value = json.loads(data.decode("utf-8", "replace")) if _is_json(data) else None
    return value if isinstance(value, dict) else None


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return True
