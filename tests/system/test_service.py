"""The service that other tests use."""

import gc
import weakref


async def test_a_service_that_ended_is_forgotten(serve):
    """A thousand of them left 2 GB: a full garbage collection took 3 s, and who calls moto's DynamoDB waits 2 s."""
    async with serve() as service:
        app = weakref.ref(service.app)
        async with service.ask() as response:
            assert response.status == 200
    async with serve() as service:  # the metrics of a process are those of its last one
        gc.collect()

        assert app() is None
