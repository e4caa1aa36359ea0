"""Searches for bytes that break a property of `tests/harness/properties.py`, guided by coverage: `make fuzz`.

To run an input again that was found for the target `sse`: `.venv/bin/python -m tests.long.fuzz sse FILE`.
"""

import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
TARGETS = ("sse", "chat", "meter")
BOUNDS = ["-max_len=16384", "-timeout=5", "-rss_limit_mb=512", "-print_final_stats=1"]
QUESTION = {"question": "Why?", "user_id": "u", "client_id": 7, "product_id": "p", "stream": True}
# Words that are not found by chance; libFuzzer inserts them into its inputs.
WORDS = [b"\xef\xbb\xbf", b"\r\n\r\n", b"\n\n", b"data: ", b"[DONE]", b"null", b"1e999", rb"\ud83d", rb"\u0000"]
WORDS += [b'{"choices":[{"delta":{"content":"x"}}]}', b'"usage":{"total_tokens":7}', b'"error":{"message":"x"}']
NAMES = [*QUESTION, "history", "role", "user", "content", "choices", "delta", "message", "refusal", "reasoning"]
NAMES += ["index", "finish_reason", "obfuscation"]
NAMES += ["tool_calls", "function_call", "function", "custom", "name", "arguments", "input", "total_tokens"]
WORDS += [*(f'"{name}":'.encode() for name in NAMES), b'"user"', b"[[[[[[[[", b"]]]]]]]]"]


def check(target: str, data: bytes) -> None:
    """Raises AssertionError if `data` breaks a property of the target.

    The first byte, modulo 8, says how many sizes of pieces follow before the stream.
    """
    from tests.harness import properties

    head = data[0] if data else 0
    sizes, stream = list(data[1 : 1 + head % 8]), data[1 + head % 8 :]
    if target == "sse":
        properties.splits_as_specified(stream, sizes)
        properties.limits_what_is_pending(stream, sizes, head)
    elif target == "chat":
        properties.admits_what_the_contract_allows(data)
    else:
        properties.meters_without_fail(stream, sizes, show_usage=head > 127)


def seeds(target: str) -> Iterator[bytes]:
    """Inputs made from recorded answers of OpenAI."""
    stream = (DATA / "ask_stream.sse").read_bytes()
    answer = json.loads((DATA / "ask_response.json").read_bytes())
    if target == "chat":
        turns = [{"role": "user", "content": "Hi"}, answer["choices"][0]["message"]]
        yield from (json.dumps(QUESTION | {"history": turns[:length]}).encode() for length in range(3))
        return
    chunks = stream.split(b"\n\n")
    few = b"\n\n".join([*chunks[1:3], b"data: [DONE]", *chunks[3:5]])
    padded = b"".join(
        b'data: {"choices":[{"delta":{"content":"x"}}],"obfuscation":"%b"}\n\n' % pad for pad in (b"a", b"bc")
    )
    for part in (stream, few, padded, *chunks[1:4], b"data: " + json.dumps(answer).encode()):
        yield b"\0" + part + b"\n\n"
        yield b"\x83\x07\x01\x40" + part.replace(b"\n", b"\r\n") + b"\r\n\r\n"


def fuzz(target: str, seconds: int, folder: Path) -> tuple[str, int, str]:
    """Fuzz one target for `seconds`; returns inputs, crashes, peak memory in MiB. The input of a crash is kept."""
    corpus, words, found = folder / target, folder / "words", f"{tempfile.gettempdir()}/gptdock-fuzz-{target}-"
    corpus.mkdir()
    words.write_text("".join('"' + "".join(map(r"\x{:02x}".format, word)) + '"\n' for word in WORDS))
    for number, seed in enumerate(seeds(target)):
        (corpus / str(number)).write_bytes(seed)
    options = [*BOUNDS, f"-max_total_time={seconds}", f"-dict={words}", f"-artifact_prefix={found}", str(corpus)]
    command = [sys.executable, "-m", "tests.long.fuzz", target, *options]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, errors="replace", timeout=seconds + 60, check=False
    )
    if done.returncode:
        print(done.stderr[-4000:])
    stats = dict(re.findall(r"^stat::(\w+):\s+(\d+)$", done.stderr, re.MULTILINE))
    return stats.get("number_of_executed_units", "?"), int(done.returncode != 0), stats.get("peak_rss_mb", "?")


def main(seconds: int) -> int:
    """Fuzz every target for its part of `seconds`; returns 1 if one crashed."""
    crashed = False
    with tempfile.TemporaryDirectory(prefix="gptdock-fuzz-") as folder:
        for target in TARGETS:
            inputs, crashes, peak = fuzz(target, math.ceil(seconds / len(TARGETS)), Path(folder))
            print(f"{target}: {inputs} inputs, {crashes} crashes, {peak} MiB at the peak", flush=True)
            crashed = crashed or crashes > 0
    return int(crashed)


def guided(target: str, arguments: list[str]) -> None:
    """Run libFuzzer with these arguments; it ends this process."""
    import atheris

    with atheris.instrument_imports(include=["gptdock"]):  # the properties import only pure modules
        from tests.harness import properties  # noqa: F401
    atheris.Setup([sys.argv[0], *arguments], lambda data: check(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1] in TARGETS:
        guided(sys.argv[1], sys.argv[2:])
    else:
        sys.exit(main(int(sys.argv[1])))
