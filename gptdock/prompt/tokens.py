"""tiktoken: counts tokens without a network, without blocking the loop, without ever failing.

tiktoken downloads its encodings on first use. GPTDock brings them along and passes them to tiktoken through its cache:
a folder with the right file under the right name, so that nothing is fetched.

Measured with tiktoken 0.14 on one core of a VM, the worst of 35 kinds of text for o200k and cl100k: 8 KiB take 3 ms,
256 KiB 0.13 s, 1 MiB 0.9 s, 4 MiB 5 s, so no text that fits into a body needs to be sliced. Encoding releases the GIL:
the event loop was late by 2.4 ms. One MiB of spaces makes tiktoken's regular expressions panic.
"""

import asyncio
import functools
import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import tiktoken
from tiktoken.model import encoding_name_for_model

from gptdock.errors import SettingsError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DATA = Path(__file__).parents[1] / "data"
BLOB_URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
SHA256 = {  # as in tiktoken_ext/openai_public.py
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
INLINE_BYTES = 8192
# Texts that recur are counted once: words, such as roles, in every prompt, and messages, since each question comes with
# those before it. At most so many characters and texts are kept, 8 MB.
WORD_CHARACTERS, WORDS = 16, 256
MESSAGE_CHARACTERS, MESSAGES = 2048, 1024
THREADS = 2


class Tokens:
    """Counts tokens with the encodings of `model` and `others`. Raises SettingsError as `load` does."""

    def __init__(self, model: str, *others: str) -> None:
        loaded = {name: load(name) for name in map(encoding_name, (model, *others))}
        self._encoding = loaded[encoding_name(model)]
        self._encodings = {each: loaded[encoding_name(each)] for each in others}
        self._count_word = functools.lru_cache(maxsize=WORDS)(self._count)
        self._count_message = functools.lru_cache(maxsize=MESSAGES)(self._count)
        self._counters: dict[str, Callable[[str], int]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tokens")

    def count(self, text: str, model: str = "") -> int:
        """The tokens of `text` as `model` counts them, or the first model if it is not one of `others`.

        Special tokens in it count as text. Where tiktoken fails, its bytes are counted, which are never fewer.
        """
        if len(text) <= WORD_CHARACTERS:
            return self._count_word(text, model)
        return self._count_message(text, model) if len(text) <= MESSAGE_CHARACTERS else self._count(text, model)

    def counter(self, model: str) -> Callable[[str], int]:
        """`count` with a model that is served; the same for each request, since a stream keeps it."""
        if (counter := self._counters.get(model)) is None:
            counter = self._counters[model] = functools.partial(self.count, model=model)
        return counter

    def _count(self, text: str, model: str) -> int:
        try:
            return len(self._encodings.get(model, self._encoding).encode_ordinary(text))
        except (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError):
            raise
        except BaseException:  # a Rust panic is not an Exception
            return len(text.encode("utf-8", "surrogatepass"))

    def pieces(self, text: str) -> list[str]:
        """The tokens of `text` as strings; a part of a character becomes U+FFFD."""
        encoding = self._encoding
        tokens = encoding.encode_ordinary(text)
        return [encoding.decode_single_token_bytes(token).decode(errors="replace") for token in tokens]

    async def run(self, size: int, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """What `function` returns; it is called in a thread if the `size` of its text is over INLINE_BYTES."""
        if size <= INLINE_BYTES:
            return function(*args)
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def close(self) -> None:
        """Stop the threads; calls that have not begun are cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def encoding_name(model: str) -> str:
    """The encoding that `model` is counted with: o200k_base, unless it is known to have another one that we carry."""
    try:
        name = encoding_name_for_model(model)
    except KeyError:
        name = ""
    return name if name in SHA256 else "o200k_base"


@functools.cache
def load(name: str) -> tiktoken.Encoding:
    """The encoding, read from its file once per process. Raises SettingsError if that is missing or wrong."""
    try:
        content = gzip.decompress((DATA / f"{name}.tiktoken.gz").read_bytes())
    except (OSError, EOFError, zlib.error) as exc:
        raise SettingsError(f"The tokenizer file {name}.tiktoken.gz is missing or corrupt: install again") from exc
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise SettingsError(f"The tokenizer file {name}.tiktoken.gz is not the right one: install again")
    try:
        with _cached(name, content):
            encoding = tiktoken.get_encoding(name)
    except OSError as exc:
        raise SettingsError(f"The tokenizer file {name}.tiktoken.gz cannot be unpacked to a temporary folder") from exc
    # What its compiled core was made of: of o200k 29 MB, which tiktoken reads again only to pickle an encoding.
    encoding._mergeable_ranks = {}
    return encoding


@contextmanager
def _cached(name: str, content: bytes) -> Iterator[None]:
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    with tempfile.TemporaryDirectory(prefix="gptdock-") as folder:  # mode 0700: no other user can put a file there
        key = hashlib.sha1(BLOB_URL.format(name).encode(), usedforsecurity=False).hexdigest()
        (Path(folder) / key).write_bytes(content)
        os.environ["TIKTOKEN_CACHE_DIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["TIKTOKEN_CACHE_DIR"]
            else:
                os.environ["TIKTOKEN_CACHE_DIR"] = before
