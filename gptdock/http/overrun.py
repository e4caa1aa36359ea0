"""Whether a stream goes on although the upstream was told to stop: a compatible service may ignore the limit.

The text is counted with OpenAI's tokenizer, and other models may need fewer tokens for it. So a stream is cut at twice
its limit and some more. It is seldom looked at: a token has a byte at least, and mostly four; an answer within its
limit is counted once, if at all. Text that came in bulk is estimated by its beginning; what seems too much is counted.

What is not text, to our knowledge, is bounded by its bytes: many more than events of one token each have, with the
twenty likely tokens of `logprobs` besides.
"""

import logging
from collections.abc import Callable

from gptdock.errors import UpstreamError
from gptdock.prompt.tokens import INLINE_BYTES
from gptdock.upstream.meter import Meter

log = logging.getLogger(__name__)

MARGIN_TOKENS = 256
LEAST_BYTES = 1024  # between two looks
DENSE_BYTES = 2  # a token, of text with many tokens
MOST_BYTES = 16  # a token, of text that is counted before a stream is cut
MOST_SHOWN_BYTES = 8192  # a token, of events


class Overrun:
    """Watches a meter for more text than `limit` allows; `count` counts tokens."""

    __slots__ = ("_bytes_left", "_count", "_meter", "_most", "_next_look", "_seen", "_tokens")

    def __init__(self, meter: Meter, limit: int, count: Callable[[str], int]) -> None:
        self._meter, self._count = meter, count
        self._most = 2 * limit + MARGIN_TOKENS
        self._tokens, self._seen = 0.0, 0
        self._next_look = DENSE_BYTES * self._most  # at so many bytes of text
        self._bytes_left = MOST_SHOWN_BYTES * self._most  # of events; once it is below 0, `look` is due

    def note(self, shown_bytes: int, text_bytes: int) -> None:
        """Note bytes of events for the caller, and how much text there is. Raises UpstreamError if it is too much.

        See `look`.
        """
        self._bytes_left -= shown_bytes
        if text_bytes > self._next_look or self._bytes_left < 0:
            self.look()

    def look(self) -> None:
        """Count the new text. Raises UpstreamError if all of it is more than the upstream was allowed to generate.

        So it does if the events have too many bytes.
        """
        new = self._meter.text_from(self._seen)
        self._seen += len(new)
        beginning = new[:INLINE_BYTES]
        self._tokens += self._count_utf8(beginning) * len(new) / max(1, len(beginning))
        if self._tokens > self._most:
            self._tokens = self._count_utf8(self._meter.text_from(0)[: MOST_BYTES * self._most])
        if self._tokens > self._most or self._bytes_left < 0:
            log.warning("upstream ignored the limit of an answer")
            raise UpstreamError("The upstream's answer exceeds its limit.")
        self._next_look = self._seen + max(LEAST_BYTES, DENSE_BYTES * int(self._most - self._tokens))

    def _count_utf8(self, text: bytes) -> int:
        return self._count(text.decode("utf-8", "replace"))
