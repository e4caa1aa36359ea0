"""Passes the events of a stream on to its caller as they come.

Most events of an answer differ by their text alone. Such a one is looked at once, and leaves as the bytes that came.
"""

from collections.abc import Callable

from gptdock.http.caller import Caller
from gptdock.http.overrun import Overrun
from gptdock.upstream.meter import Meter
from gptdock.upstream.sse import Event

Show = Callable[[list[Event]], bytes]


class Passage:
    """A `Taker`: it wants no more if the answer is over, the caller must catch up, or thinking ends or begins.

    `show` reads events, and returns what the caller gets of them. `thinks` is None if that does not matter.
    """

    __slots__ = ("_caller", "_meter", "_overrun", "_show", "_thinks")

    def __init__(self, caller: Caller, meter: Meter, overrun: Overrun, show: Show, *, thinks: bool | None) -> None:
        self._caller, self._meter, self._overrun, self._show, self._thinks = caller, meter, overrun, show, thinks

    def take(self, events: list[Event]) -> bool:
        """Send these events at once."""
        meter, goes_on = self._meter, self._caller.write_now(self._show(events))
        turns = self._thinks is not None and self._thinks is not meter.thinks
        return goes_on and not (meter.is_over or turns)

    def take_alike(self, data: bytes) -> bool | None:
        """Send one event at once, whose text is all that it tells."""
        text_bytes = self._meter.read_alike(data)
        if not text_bytes:
            return None
        self._overrun.note(len(data), text_bytes)
        return self._caller.write_now(data)
