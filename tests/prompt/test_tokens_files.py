"""How the files of the tokenizer are loaded, and what happens if they are damaged."""

import gzip
import os
import shutil
import socket

import pytest
import tiktoken
import tiktoken.registry

from gptdock.errors import SettingsError
from gptdock.prompt import tokens
from gptdock.prompt.tokens import Tokens


@pytest.fixture
def anew():
    """Encodings are loaded anew for this test."""
    tokens.load.cache_clear()
    yield
    tokens.load.cache_clear()


@pytest.fixture
def data(anew, monkeypatch, tmp_path):
    """A copy of the package's files that a test may damage."""
    folder = tmp_path / "data"
    shutil.copytree(tokens.DATA, folder)
    monkeypatch.setattr(tokens, "DATA", folder)
    return folder


@pytest.fixture
def unloaded(anew, monkeypatch):
    """tiktoken as in a new process, and without a network."""

    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-3.5-turbo"])
def test_an_encoding_loads_without_a_network_and_leaves_no_trace(unloaded, monkeypatch, tmp_path, model):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "/nowhere")

    counted = Tokens(model).count("hello world")

    assert counted == 2
    assert os.environ["TIKTOKEN_CACHE_DIR"] == "/nowhere"
    assert list(tmp_path.iterdir()) == []


def test_an_environment_without_a_cache_folder_is_left_so(unloaded, monkeypatch):
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)

    Tokens("gpt-4o")

    assert "TIKTOKEN_CACHE_DIR" not in os.environ


def test_the_unpacked_file_is_in_a_private_folder(monkeypatch):
    def get_encoding(name):
        modes.append(os.stat(os.environ["TIKTOKEN_CACHE_DIR"]))
        return unwatched(name)

    modes: list[os.stat_result] = []
    unwatched = tiktoken.get_encoding
    monkeypatch.setattr(tiktoken, "get_encoding", get_encoding)

    tokens.load("cl100k_base")

    assert [mode.st_mode & 0o777 for mode in modes] == [0o700]


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def garble(path):
    content = path.read_bytes()
    path.write_bytes(content[:10] + bytes([0xFF]) * 100 + content[110:])


def replace(path):
    path.write_bytes(gzip.compress(b"aGVsbG8= 0\n"))


def blank(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [remove, cut, flip, garble, replace, blank])
def test_a_missing_or_corrupt_file_stops_the_start_with_one_line(unloaded, data, damage):
    damage(data / "o200k_base.tiktoken.gz")

    with pytest.raises(SettingsError, match=r"^The tokenizer file o200k_base\.tiktoken\.gz is .*: install again$"):
        Tokens("gpt-4o-mini")


def test_a_file_that_cannot_be_unpacked_stops_the_start_with_one_line(unloaded, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))

    with pytest.raises(SettingsError, match=r"^The tokenizer file o200k_base\.tiktoken\.gz cannot be unpacked"):
        Tokens("gpt-4o-mini")
