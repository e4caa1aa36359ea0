"""What `gptdock dev` prints once it serves: the addresses and keys, and one command to try."""

import json
import shlex
from importlib.metadata import version
from typing import NamedTuple

from gptdock.settings import Settings


class Stack(NamedTuple):
    """What serves. `kept` is the file of the tables in memory, if any; in_memory is False for a DynamoDB elsewhere."""

    settings: Settings
    port: int
    simulated: bool
    in_memory: bool
    kept: str = ""


def text(stack: Stack) -> str:
    """The block, aligned, with one fact on a line."""
    settings, url = stack.settings, address(stack.settings.host, stack.port)
    rows = {
        "page": f"{url}/",
        "URL": f"{url}/v1",
        "client URL": f"{url}/clients/1234/demo/v1",
        "key": settings.pre_shared_key[0],
        "admin key": settings.admin_key[0],
        "OpenAI": "simulated, nothing is spent" if stack.simulated else f"real: {settings.openai_base_url}",
        "DynamoDB": f"{settings.aws_endpoint_url_dynamodb}{_how_long(stack)}",
    }
    lines = [f"  {name:<11} {value}" for name, value in rows.items()]
    return "\n".join([f"GPTDock {version('gptdock')}", "", *lines, "", *_command(url, rows["key"]), ""])


def address(host: str, port: int) -> str:
    """The URL under which a server that listens on `host` is reached from this machine."""
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _how_long(stack: Stack) -> str:
    if not stack.in_memory:
        return ""
    return f", kept in {stack.kept}" if stack.kept else ", in memory (DATA=quotas.json keeps it)"


def _command(url: str, key: str) -> list[str]:
    question = {"question": "Who are you?", "client_id": 1234, "product_id": "demo", "user_id": 7}
    body = json.dumps(question, separators=(",", ":"))
    return [f"curl -s {url}/v1/ask -H {shlex.quote(f'Authorization: Bearer {key}')} -d \\", f"  {shlex.quote(body)}"]
