"""Connections that resume only what was paused."""

from aiohttp.base_protocol import BaseProtocol


class LazyResume(BaseProtocol):
    """A connection whose parser is asked for more only if it was ever told to pause: until then it keeps nothing back.

    aiohttp asks after each read of a body, which is 4 % of a request. Later it must: a pause may last until the parser
    meets the next part of a body, and what it keeps back then comes by being asked.
    """

    __slots__ = ()
    _was_paused: bool

    def pause_reading(self) -> None:
        """As aiohttp does."""
        self._was_paused = True  # type: ignore[misc]  # a subclass has the slot: two bases with slots cannot be one
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """As aiohttp does, if there was a pause."""
        if self._was_paused:
            super().resume_reading(resume_parser)
