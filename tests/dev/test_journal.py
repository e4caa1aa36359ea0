"""The journal's waits end."""

import pytest


async def test_a_wait_that_is_in_vain_ends_with_a_timeout(server):
    with pytest.raises(TimeoutError):
        await server.journal.until(lambda: False, seconds=0)
