"""How long the stream of a model may be silent, and what its caller gets in that time.

A model that may think has THINK_TIMEOUT until its first text; other models have FIRST_EVENT_TIMEOUT for their first
event, and all models have EVENT_TIMEOUT between events after that.
"""

import math

from gptdock.aiohttp_private.tap import Silence
from gptdock.http.caller import Caller
from gptdock.ledger import charges
from gptdock.settings import Settings
from gptdock.upstream.stream import FirstEvent


class Patience:
    """With one stream of `model`, for one caller."""

    def __init__(self, settings: Settings, model: str, caller: Caller) -> None:
        self._settings, self._caller = settings, caller
        self._may_think = charges.may_think(model)
        self._ping_seconds = settings.ping_seconds or math.inf

    @property
    def first_event(self) -> FirstEvent:
        """With the first event. Pings begin the answer, so only a model that may think has them before it."""
        if not self._may_think:
            return FirstEvent(self._settings.first_event_timeout, math.inf, self._caller.begin_or_ping)
        return FirstEvent(self._settings.think_timeout, self._ping_seconds, self._caller.begin_or_ping)

    def thinks(self, *, has_text: bool) -> bool:
        """Whether the model may still be thinking before its first text."""
        return self._may_think and not has_text

    def silence(self, *, thinks: bool) -> Silence:
        """With later events."""
        seconds = self._settings.think_timeout if thinks else self._settings.event_timeout
        return Silence(seconds, self._may_think, self._ping_seconds, self._caller.ping)
