import pytest


@pytest.fixture
def quick(monkeypatch):
    """Retries without a Retry-After happen at once: full jitter may say so."""
    monkeypatch.setattr("gptdock.upstream.client.random.random", lambda: 0.0)
