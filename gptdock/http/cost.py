"""What an answer cost where the upstream has not said it: prompts, text that came, unseen time, lost attempts.

The text is counted when the answer is cut, and every few seconds for the will. What it took to come is noted, so that a
will and a charge of unseen time know how fast the answer is (`gptdock.ledger.rates`), and each answer teaches the next,
if its caller did not hold it up.
"""

from collections.abc import Awaitable

from gptdock.ledger import charges
from gptdock.ledger.charges import Charge
from gptdock.ledger.holds import Hold
from gptdock.prompt.tokens import INLINE_BYTES, Tokens
from gptdock.upstream.exchange import Exchange
from gptdock.upstream.meter import Meter
from gptdock.upstream.usage import Usage


class Cost:
    """The cost of one answer. `comes_at_once`: not as a stream, so none of its text can be seen before its end."""

    __slots__ = (
        "_comes_at_once",
        "_counted_length",
        "_counted_tokens",
        "_exchange",
        "_hold",
        "_meter",
        "_thinks_since",
        "_thought_seconds",
        "_tokens",
        "_waits_since",
        "held_up",
    )

    def __init__(self, hold: Hold, tokens: Tokens, meter: Meter, exchange: Exchange, *, comes_at_once: bool) -> None:
        self._hold, self._tokens, self._meter, self._exchange = hold, tokens, meter, exchange
        self._comes_at_once = comes_at_once
        self._counted_tokens = self._counted_length = 0
        self._thought_seconds = 0.0  # before the first text, and in later times of thought, as far as these are over
        self._thinks_since: float | None = 0.0
        self.held_up = False  # by a caller who read slowly, so that its time says nothing of the model
        self._waits_since: tuple[float, int] | None = None  # for the caller: from when on, at how much text
        hold.count_used = self._used

    def turns(self, *, thinks: bool) -> None:
        """A time begins in which hidden thoughts may be generated, or it ends."""
        now = self._exchange.seconds
        self._thought_seconds = self._thought(now)
        self._thinks_since = now if thinks else None

    async def waiting(self, for_caller: Awaitable[None]) -> None:
        """Wait for the caller to read on. What is generated then is not seen: if the answer is cut, time is charged."""
        self._waits_since = (self._exchange.seconds, self._meter.text_bytes)
        await for_caller
        self._waits_since = None

    def reported(self) -> Usage | None:
        """The usage that the answer may end with: not one before a cut of thoughts, as it cannot tell them."""
        meter = self._meter
        is_whole = meter.done or not meter.thinks
        return meter.final_usage if is_whole or not charges.may_think(self._hold.claim.model) else None

    def exact(self, usage: Usage) -> Charge:
        """What the upstream reports, and what attempts may have cost that were lost before."""
        self._learn(usage.completion_tokens)
        charge = charges.exact(*usage)
        if lost := self._exchange.lost_attempts:
            unseen_tokens = self._hold.pace.unseen(self._exchange.lost_seconds)
            charge = charges.with_lost(charge, lost * self._hold.claim.prompt_tokens, unseen_tokens, self._hold.tokens)
        return charge

    async def count(self, seconds: float) -> Charge:
        """The charge for an answer that was cut `seconds` after its last attempt was sent, with all attempts."""
        text_tokens = 0
        if self._meter.text_bytes:
            text = self._meter.text()
            text_tokens = await self._tokens.run(len(text), self._tokens.count, text, self._hold.claim.model)
        unseen_tokens = self._unseen(text_tokens, seconds) + self._unread(text_tokens, seconds)
        self._learn_from_text(text_tokens)
        told_tokens = self._meter.usage.completion_tokens if self._meter.usage else 0
        return charges.counted(self._prompts(), max(told_tokens, unseen_tokens + text_tokens), self._hold.tokens)

    def _used(self) -> int:
        """Tokens used so far, of which only new text is counted; much of it by its bytes, which are never fewer."""
        if self._meter.text_bytes:
            text = self._meter.text()
            new = text[self._counted_length :]
            self._counted_tokens += (
                self._tokens.count(new, self._hold.claim.model)
                if len(new) <= INLINE_BYTES
                else len(new.encode("utf-8", "surrogatepass"))
            )
            self._counted_length = len(text)
        unseen_tokens = self._unseen(self._counted_tokens, self._exchange.seconds)
        return self._prompts() + unseen_tokens + self._counted_tokens

    def _prompts(self) -> int:
        return max(1, self._exchange.attempts) * self._hold.claim.prompt_tokens

    def _unseen(self, text_tokens: int, seconds: float) -> int:
        """Tokens that may have been generated unseen within `seconds`, in which text of so many came."""
        if (written_tokens := self._written(text_tokens)) and not self._comes_at_once:
            self._hold.pace.note(written_tokens, seconds - self._thought(seconds))
        return self._hold.pace.unseen(self._exchange.lost_seconds + self._unseen_seconds(seconds))

    def _unread(self, text_tokens: int, seconds: float) -> int:
        """Tokens that may have been generated since the caller does not read on, besides the text that came since."""
        thinks = self._thinks_since is not None and charges.may_think(self._hold.claim.model)
        if self._waits_since is None or thinks:  # that time is charged as such
            return 0
        since, text_bytes = self._waits_since
        came_tokens = text_tokens * (1 - text_bytes / self._meter.text_bytes) if text_tokens else 0
        return max(0, self._hold.pace.unseen(seconds - since) - round(came_tokens))

    def _unseen_seconds(self, seconds: float) -> float:
        if self._comes_at_once and not self._meter.text_bytes:
            return seconds  # its text did not come, or it is not told, as in a response that failed
        has_begun = self._exchange.is_heard or self._meter.has_text
        if has_begun and not charges.may_think(self._hold.claim.model):
            return 0.0
        return self._thought(seconds)

    def _thought(self, seconds: float) -> float:
        """So many of these seconds may have passed in thought."""
        now = 0.0 if self._thinks_since is None else max(0.0, seconds - self._thinks_since)
        return self._thought_seconds + now

    def _written(self, text_tokens: int) -> int:
        """How many of these came outside of thought: the rest sums thoughts up, and says nothing of a pace."""
        meter = self._meter
        return round(text_tokens * (1 - meter.summary_bytes / meter.text_bytes)) if meter.text_bytes else 0

    def _learn_from_text(self, text_tokens: int) -> None:
        """An upstream may never report usage: by its text, its models become known all the same."""
        if self.held_up:
            return
        if self._comes_at_once:
            if charges.may_think(self._hold.claim.model):
                return  # its text is the smaller part of what it generated
            self._hold.pace.note(text_tokens, self._thought_seconds)
        self._hold.pace.teach()

    def _learn(self, completion_tokens: int) -> None:
        if self.held_up:
            return
        seconds = self._thought_seconds
        if not self._comes_at_once:
            seconds = self._exchange.seconds - (0 if charges.may_think(self._hold.claim.model) else seconds)
        self._hold.pace.rate.observe(completion_tokens, seconds)
