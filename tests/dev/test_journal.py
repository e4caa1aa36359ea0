"""How long the journal waits."""

import pytest


async def test_a_wait_for_what_never_happens_ends(server):
    with pytest.raises(TimeoutError):
        await server.journal.until(lambda: False, seconds=0)
