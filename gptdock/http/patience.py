"""How long the stream of a model may be silent, and what its caller gets in that time.

A model that may think has THINK_TIMEOUT until its first text that is no summary of thoughts, and where it may think
again; other models have FIRST_EVENT_TIMEOUT for their first event, and all models have EVENT_TIMEOUT between other
events.
"""

import math

from gptdock.aiohttp_private.tap import Silence
from gptdock.http.caller import Caller
from gptdock.ledger import charges
from gptdock.settings import Settings
from gptdock.upstream.stream import FirstEvent


class Patience:
    """With one stream of `model`, for one caller."""

    __slots__ = ("_caller", "_ping_seconds", "_settings", "may_think")

    def __init__(self, settings: Settings, model: str, caller: Caller) -> None:
        self._settings, self._caller = settings, caller
        self.may_think = charges.may_think(model)
        self._ping_seconds = settings.ping_seconds or math.inf

    @property
    def first_event(self) -> FirstEvent:
        """With the first event. Pings begin the answer, so only a model that may think has them before it."""
        if not self.may_think:
            return FirstEvent(self._settings.first_event_timeout, math.inf, self._caller.begin_or_ping)
        return FirstEvent(self._settings.think_timeout, self._ping_seconds, self._caller.begin_or_ping)

    def silence(self, *, thinks: bool) -> Silence:
        """With later events; `thinks`: where the model may be thinking."""
        seconds = self._settings.think_timeout if thinks else self._settings.event_timeout
        return Silence(seconds, self.may_think, self._ping_seconds, self._caller.ping)
