"""The service of the harness leaves nothing behind."""

import gc
import weakref


async def test_a_service_that_ended_is_freed(serve):
    """A thousand that stayed took 2 GB, and a full garbage collection 3 s: longer than a call of DynamoDB may take."""
    async with serve() as service:
        app = weakref.ref(service.app)
        async with service.ask() as response:
            assert response.status == 200
    async with serve() as service:  # the process-wide metrics now refer to this one
        gc.collect()

        assert app() is None
