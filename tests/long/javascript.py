"""Runs what is written in JavaScript: the documents' programs, and calls of packages that are made for OpenAI.

`python -m tests.long.javascript` needs node, npm and a network, which the suite must not need. The packages are those
of `npm/package.json`, and go into a temporary folder.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gptdock.dev.asked import Pieces
from gptdock.dev.openai import serve_openai
from gptdock.prompt.tokens import Tokens
from tests.harness.documents import programs
from tests.long import clients, examples
from tests.long.examples import Place

HERE = Path(__file__).parent / "npm"


async def _documents(node: Place, pieces: Pieces) -> None:
    by_openai, by_hand = programs("js")
    for name, program in {"fetch": by_hand, "openai": by_openai}.items():
        for claim in examples.CLAIMS:
            async with serve_openai(pieces) as openai:
                await claim(node, program, openai)
            print(f"{name} {claim.__name__}")
    await examples.does_not_take_a_clean_end_for_a_whole_answer(node, by_hand)
    print(f"fetch {examples.does_not_take_a_clean_end_for_a_whole_answer.__name__}")


async def _packages(node: Place, pieces: Pieces) -> None:
    program = (HERE / "clients.mjs").read_text()
    for call in clients.CALLS:
        for claim in clients.CLAIMS + (clients.CLAIMS_BY_RESPONSES if call in clients.BY_RESPONSES else ()):
            async with serve_openai(pieces) as openai:
                await claim(node, program, call, openai)
            print(f"{call}: {claim.__name__}")


@asynccontextmanager
async def _node() -> AsyncIterator[Place]:
    with TemporaryDirectory() as name:
        shutil.copy(HERE / "package.json", name)
        npm = await asyncio.create_subprocess_exec("npm", "install", "--silent", cwd=name)
        assert await npm.wait() == 0
        yield Place(Path(name), ".mjs", "node")


async def _main() -> None:
    tokens = Tokens("gpt-4o-mini")
    async with _node() as node:
        await _documents(node, tokens.pieces)
        await _packages(node, tokens.pieces)
    tokens.close()


if __name__ == "__main__":
    asyncio.run(_main())
