"""The path of a request that is not served is in the log of `gptdock dev`, and in no other."""

import logging

import pytest

from gptdock.dev import stack
from gptdock.http import app


@pytest.mark.parametrize("tried", [True, False])
async def test_a_path_without_a_route_is_logged_only_where_gptdock_is_tried(
    serve, tried: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "gptdock")
    if tried:
        create = app.create
        monkeypatch.setattr(app, "create", lambda settings: stack.for_trial(create(settings), settings))
    async with serve() as service:
        for path, status in (("/chat/completions", 404), ("/v1/chat/completions", 405), ("/v1/models", 200)):
            async with service.session.get(service.url + path) as response:
                assert response.status == status

    lines = [vars(each) for each in caplog.records if each.message == "request ended"]
    logged = ["/chat/completions", "/v1/chat/completions", None] if tried else [None] * 3
    assert [line.get("path") for line in lines] == logged
