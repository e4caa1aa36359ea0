"""Pure: reads one answer: what of it the caller sees, what text was generated, what the upstream reports as used.

A reported usage counts if it can be believed and no text came after it. Until then the text of all events is kept, and
counted only if the answer is cut. An event that is not JSON counts as text, all its bytes, because a charge that is too
high is better than an answer for free. JSON has the text that the route's `Format` finds in it. What may be text in
fields that are not known is counted, too, but an answer that ends may end with the usage that came before it.
"""

from typing import Any

from gptdock.upstream import format as formats
from gptdock.upstream.format import Format, Told
from gptdock.upstream.loose_json import as_object, parse, parse_large
from gptdock.upstream.retold import Retold
from gptdock.upstream.sse import Event, name_of
from gptdock.upstream.usage import Usage, sane_usage

_LARGE_BYTES = 2**16


def is_chunk(event: Event | None) -> bool:
    """Whether this can be an event of an answer: [DONE], a JSON object or an error."""
    if event is None or event.data is None:
        return False
    return event.is_error or _is_done(event.data) or _object_or_none(event.data) is not None


def says_nothing(event: Event) -> bool:
    """Whether its data is JSON, but not an object: some upstreams begin with `null` or `[]` to show that they live."""
    if not event.data or event.is_error or event.data[:1] == b"{":
        return not event.data
    try:
        return not _is_done(event.data) and as_object(parse(event.data)) is None
    except ValueError:
        return False


class Meter:
    """Reads the events of one stream. `next_number` is that of the next, where the route counts them."""

    __slots__ = (
        "_format",
        "_retold",
        "_shape",
        "_show_usage",
        "_usage_at",
        "_utf8",
        "begun",
        "done",
        "error",
        "has_text",
        "next_number",
        "odd_usage",
        "summary_bytes",
        "thinks",
        "usage",
    )

    def __init__(self, form: Format, *, show_usage: bool = False) -> None:
        self.next_number = 0
        self.usage: Usage | None = None
        self.odd_usage = False
        self.error: dict[str, Any] | None = None
        self.begun = False
        self.has_text = False
        self.thinks = True  # hidden thoughts may be generated now: before the first text, and where the route says so
        self.summary_bytes = 0  # of the text: what only sums thoughts up
        self.done = False
        self._format, self._show_usage = form, show_usage
        self._utf8 = bytearray()  # of the text so far; half a surrogate pair as it is
        self._usage_at = 0  # how much text there was when the usage came
        self._shape: formats.Shape | None = None
        self._retold: Retold | None = None  # few answers tell their text again

    def read_alike(self, raw: bytes) -> int:
        """Note the text of an event, from its bytes, if it differs from one that was read by that alone.

        The caller is to see it. Returns how many bytes of text there are then; 0 of any other, which `read` must have.
        The hot path: it takes 1 us, and to parse an event 4.
        """
        if self._shape is None or (text := self._shape.text_of(raw)) is None:
            return 0
        self._utf8 += text if text.isascii() else text.decode("utf-8", "replace").encode()
        return len(self._utf8)

    def read(self, event: Event) -> bool:
        """Note what `event` tells. True if the caller is to see it; false from an error on, and after [DONE]."""
        data = event.data
        if not data or self.done or self.error is not None:
            return self._read_behind(data) if data and self.error is not None else False
        if not event.is_error and self.read_alike(event.raw):
            return True
        if _is_done(data):
            self.done = self._format.ends_by_done
            return self.done
        return self._look_into(data, event)

    def read_answer(self, answer: dict[str, Any], raw: bytes) -> None:
        """Note what a whole answer tells; `raw` is its bytes."""
        self.done, self.has_text, self.thinks = True, True, False
        usage = self._format.usage_of(answer)
        if usage is not None:
            self._note_usage(usage, beside_answer=True)
        if self.usage is None:  # without one, or with one that denies that there was an answer
            self._note_answer(self._text(answer, raw), answer, usage)

    @property
    def is_over(self) -> bool:
        """Whether the answer ended, by [DONE], an event that tells so, or an error."""
        return self.done or self.error is not None

    def _note_answer(self, text: str, answer: dict[str, Any], usage: object) -> None:
        text += self._told(answer, text).more
        if usage is not None and self._format.has_text and not text:
            self.odd_usage = False
            self._note_usage(usage, beside_answer=False)
        if self.usage is None:
            self._add(text)

    @property
    def final_usage(self) -> Usage | None:
        """The usage, if the answer may end with it: not in an answer that was cut before anything was generated."""
        usage = self.usage
        if usage is None or self.is_over:
            return usage
        is_stale = len(self._utf8) > self._usage_at or (usage.denies_text and not self.has_text)
        return None if is_stale else usage

    @property
    def text_bytes(self) -> int:
        """How much text there is so far."""
        return len(self._utf8)

    def text_from(self, start: int) -> bytes:
        """The text from this byte on, in UTF-8."""
        return bytes(self._utf8[start:])

    def text(self) -> str:
        """The text that was generated so far."""
        return self._utf8.decode("utf-8", "surrogatepass")

    def _look_into(self, data: bytes, event: Event) -> bool:
        is_error = event.is_error
        try:
            value = parse(data) if len(data) <= _LARGE_BYTES else parse_large(data, self._format.lean(data))
        except ValueError:
            words = data.decode("utf-8", "replace")
            return self._fail({"message": words}) if is_error else not data.isspace() and self._note_text(words)
        chunk = as_object(value)
        if chunk is None:
            if is_error:
                return self._fail({"message": value})
            self._add(self._told({"": value}, "").more)
            return True
        if self._format.names_events and "type" not in chunk and (name := name_of(event)):
            chunk["type"] = name
        if text := self._text(chunk, data):
            self._note_text(text)
            if len(data) <= _LARGE_BYTES:  # more is not kept: the caller may not read on
                self._shape = self._format.shape(event.raw, text) or self._shape
        return self._note(chunk, text, is_error=is_error)

    def _text(self, content: dict[str, Any], data: bytes) -> str:
        try:
            return self._format.text_of(content)
        except RecursionError:
            return data.decode("utf-8", "replace")

    def _note_text(self, text: str) -> bool:
        self.has_text, self.thinks = True, False
        # An upstream may report usage with every chunk; more text makes it stale, and is counted if a cut follows.
        self.usage = None
        self._add(text)
        return True

    def _add(self, text: str) -> None:
        self._utf8 += text.encode("utf-8", "surrogatepass")

    def _told(self, content: dict[str, Any], text: str) -> Told:
        try:
            return self._format.told(content, text)
        except RecursionError:
            return Told()

    def _note(self, chunk: dict[str, Any], text: str, *, is_error: bool) -> bool:
        self.next_number, told = self._format.next_number(chunk), self._told(chunk, text)
        if told.again and (new := self._new_in(told.again, text)):
            self._note_text(new)
            text += new
        if told.thinks:
            self.thinks, self._shape = True, None
            self.summary_bytes += len(text.encode("utf-8", "surrogatepass"))
        self._add(told.more)
        if told.error is not None or is_error:
            self._fail(chunk if told.error is None else told.error)
        if told.usage is not None:
            self._note_usage(told.usage, beside_answer=bool(self._utf8))
        if self.error is not None:
            return False
        self.begun = True
        self.done = told.ends
        # GPTDock asked for the usage-only chunk; the caller sees it only if it asked, too.
        return self._show_usage or self._format.is_shown(chunk)

    def _new_in(self, again: formats.Again, text: str) -> str:
        if self._retold is None:
            self._retold = Retold()
        return self._retold.new_in(again, text)

    def _fail(self, error: dict[str, Any]) -> bool:
        self.error = error
        return False

    def _read_behind(self, data: bytes) -> bool:
        """Note the usage that may follow an error, in the end of the answer."""
        content = _object_or_none(data)
        if content is not None and (usage := self._told(content, "").usage) is not None:
            self._note_usage(usage, beside_answer=bool(self._utf8))
        return False

    def _note_usage(self, value: object, *, beside_answer: bool) -> None:
        usage = sane_usage(value)
        if usage is None or (beside_answer and usage.denies_answer(has_text=self._format.has_text)):
            self.odd_usage = True
            return
        self._usage_at, self._shape = len(self._utf8), None  # text behind a usage is not like other text
        if self.usage is None or usage.total_tokens >= self.usage.total_tokens:
            self.usage = usage
        self.thinks = self.thinks and self.error is None  # a usage at the end tells the thoughts, too


def _is_done(data: bytes) -> bool:
    return data.strip() == b"[DONE]"


def _object_or_none(data: bytes) -> dict[str, Any] | None:
    try:
        return as_object(parse(data))
    except ValueError:
        return None
