"""The OpenAPI document, which describes the whole HTTP contract."""

import json
from functools import cache
from importlib.metadata import version
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "data" / "openapi.json"


@cache
def text() -> str:
    """The document as JSON, with the version of the installed package."""
    document = json.loads(DOCUMENT.read_bytes())
    document["info"]["version"] = version("gptdock")
    return json.dumps(document, ensure_ascii=False)
