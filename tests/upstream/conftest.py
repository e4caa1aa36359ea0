import pytest


@pytest.fixture
def quick(monkeypatch):
    """Retries without a Retry-After come at once, as full jitter may choose."""
    monkeypatch.setattr("gptdock.upstream.client.random.random", lambda: 0.0)
