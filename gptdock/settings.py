"""Pure: the settings of a process, read from the environment and checked as a whole before anything starts.

A variable has the name of its field in upper case. The field's kind says what the value must be, and reads it. An error
names the variable and what it must be, but never the value, which may be a secret.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from gptdock.errors import SettingsError
from gptdock.near_misses import near_misses

DECIDED_BY_GPTDOCK = ("messages", "model", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens")

ALSO = {"OPEN_AI_KEY": "OPENAI_API_KEY"}  # a name that is read where the setting is unset: that of OpenAI's clients

DAY = 86_400
NEVER_PASSED = frozenset(DECIDED_BY_GPTDOCK) | {"input", "max_output_tokens", "background"}

MOST_QUOTA_TOKENS = 10**15
MOST_ANSWER_TOKENS = 10**9  # more is neither asked for in one answer nor believed if reported


class Kind(NamedTuple):
    """What a variable must be, in words that begin with "must be"; `read` turns its text into the value.

    `read` raises ValueError or RecursionError.
    """

    wants: str
    read: Callable[[str], Any]


def matching(wants: str, pattern: str) -> Kind:
    """A text that `pattern` matches as a whole."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return Kind(wants, read)


def whole(least: int, most: int) -> Kind:
    """A whole number from `least` to `most`."""

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError
        return int(text)

    return Kind(f"must be a whole number from {least} to {most}", read)


def seconds(least: float = 0.001, most: float = DAY) -> Kind:
    """A number of seconds from `least` to `most`, fractions allowed."""

    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not least <= float(text) <= most:
            raise ValueError
        return float(text)

    return Kind(f"must be a number of seconds from {least:g} to {most:g}", read)


def one_of(*choices: str) -> Kind:
    """One of `choices`, in upper or lower case."""

    def read(text: str) -> str:
        for choice in choices:
            if choice.lower() == text.lower():
                return choice
        raise ValueError

    return Kind(f"must be one of {', '.join(choices)}", read)


def _read_list(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if len(set(words)) < len(words) or not all(re.fullmatch("[!-~]+", word) for word in words):
        raise ValueError
    return words


def _read_names(text: str) -> frozenset[str]:
    names = frozenset(_read_list(text))
    if not names.isdisjoint(NEVER_PASSED):
        raise ValueError
    return names


def _read_url(text: str) -> str:
    parts = urlsplit(VISIBLE.read(text))
    # A user would become a second Authorization header; a query, even an empty one, would swallow the paths.
    extras = parts.username is not None or "?" in text or "#" in text
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or extras:
        raise ValueError
    return text.rstrip("/")


def _read_params(text: str) -> Mapping[str, Any]:
    params = json.loads(text)
    if not isinstance(params, dict) or not params.keys().isdisjoint(DECIDED_BY_GPTDOCK):
        raise ValueError
    json.dumps(params, allow_nan=False)  # NaN and 1e999 are not JSON: the upstream would refuse every request
    return MappingProxyType(params)


TEXT = Kind("must be text", str)
VISIBLE = matching("must be visible ASCII characters without spaces", "[!-~]+")
LONG = matching("must be at least 32 visible ASCII characters without spaces", "[!-~]{32,}")
LIST = Kind("must be one or more different words of visible ASCII characters, separated by commas", _read_list)
NAMES = Kind(
    f"must be different names of fields, separated by commas, without {', '.join(sorted(NEVER_PASSED))}", _read_names
)
URL = Kind("must be an http or https URL with a host, without user, query or fragment", _read_url)
PARAMS = Kind(f"must be a JSON object without {', '.join(DECIDED_BY_GPTDOCK)}", _read_params)
PORT = whole(0, 65_535)
TABLE_PREFIX = matching("must be at most 200 letters, digits, dots, hyphens and underscores", "[A-Za-z0-9_.-]{1,200}")


def setting(kind: Kind, default: Any = MISSING, *, secret: bool = False) -> Any:
    """A field of `Settings`. Without a default the variable is required; a secret is left out of the repr."""
    metadata = {"kind": kind}
    if default is MISSING:
        return field(repr=not secret, metadata=metadata)
    return field(default_factory=lambda: default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of a process. Creating one raises SettingsError if settings contradict each other."""

    open_ai_key: str = setting(VISIBLE, secret=True)
    pre_shared_key: tuple[str, ...] = setting(LIST, secret=True)
    admin_key: tuple[str, ...] = setting(LIST, (), secret=True)
    forget_key: str = setting(LONG, "", secret=True)

    host: str = setting(VISIBLE, "0.0.0.0")  # noqa: S104  # the backend calls from another machine
    port: int = setting(PORT, 5001)
    ops_host: str = setting(VISIBLE, "127.0.0.1")
    ops_port: int | None = setting(PORT, None)

    openai_base_url: str = setting(URL, "https://api.openai.com/v1")
    openai_model: str = setting(VISIBLE, "gpt-4o-mini")
    openai_models: tuple[str, ...] = setting(LIST, ())
    openai_embedding_models: tuple[str, ...] = setting(LIST, ())
    openai_pass_fields: frozenset[str] = setting(NAMES, frozenset())
    openai_params: Mapping[str, Any] = setting(PARAMS, MappingProxyType({}))
    system_prompt: str = setting(TEXT, "You are GPTDock, an AI assistant powered by {model}. Today is {today}.")
    max_prompt_tokens: int = setting(whole(1, 10_000_000), 8000)
    max_completion_tokens: int = setting(whole(16, 1_000_000), 1000)

    default_token_quota: int = setting(whole(0, MOST_QUOTA_TOKENS), 500_000)
    quota_period: Literal["none", "day", "month"] = setting(one_of("none", "day", "month"), "none")

    aws_access_key_id: str = setting(VISIBLE, "", secret=True)
    aws_secret_access_key: str = setting(VISIBLE, "", secret=True)
    aws_session_token: str = setting(VISIBLE, "", secret=True)
    aws_region: str = setting(matching("must be the name of an AWS region", "[a-z0-9-]{1,63}"), "us-east-1")
    aws_endpoint_url_dynamodb: str | None = setting(URL, None)
    dynamodb_table_prefix: str = setting(TABLE_PREFIX, "gptdock_")

    dashboard: Literal["on", "off"] = setting(one_of("on", "off"), "off")

    max_body_bytes: int = setting(whole(1024, 16 * 1024 * 1024), 262_144)
    max_streams: int = setting(whole(1, 100_000), 1000)

    lease_seconds: int = setting(whole(1, DAY), 60)  # like the two after it: DynamoDB's time has whole seconds
    lease_grace_seconds: int = setting(whole(0, DAY), 10)
    lease_retain_seconds: int = setting(whole(1, 30 * DAY), 3600)
    progress_seconds: float = setting(seconds(), 5.0)
    drain_seconds: float = setting(seconds(least=0), 30.0)

    head_timeout: float = setting(seconds(), 10.0)
    body_timeout: float = setting(seconds(), 10.0)
    keepalive_timeout: float = setting(seconds(), 75.0)
    reserve_timeout: float = setting(seconds(), 2.0)
    connect_timeout: float = setting(seconds(), 3.0)
    first_event_timeout: float = setting(seconds(), 60.0)
    think_timeout: float = setting(seconds(), 600.0)
    event_timeout: float = setting(seconds(), 30.0)
    ping_seconds: float = setting(seconds(least=0), 15.0)
    write_timeout: float = setting(seconds(), 20.0)
    request_timeout: float = setting(seconds(), 600.0)

    log_level: str = setting(one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "INFO")
    log_format: Literal["json", "text"] = setting(one_of("json", "text"), "json")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings in `environ`. Raises SettingsError: one line that names the variable, but never its value."""
        values = {}
        for each in fields(cls):
            name, kind = each.name.upper(), each.metadata["kind"]
            if text := (environ.get(name, "").strip() or environ.get(ALSO.get(name, ""), "").strip()):
                values[each.name] = _read(name, kind, text)
            elif each.default_factory is MISSING:
                typed = "".join(f"; {typed} is set" for typed, meant in cls.near_misses(environ) if meant == name)
                raise SettingsError(f"{name} is missing; it {kind.wants}{typed}")
        return cls(**values)

    @classmethod
    def near_misses(cls, environ: Mapping[str, str]) -> list[tuple[str, str]]:
        """The names in `environ` that are nearly that of a setting, each with the setting that may be meant."""
        known = [*(each.name.upper() for each in fields(cls)), *ALSO.values()]
        return list(near_misses(environ, known))

    def __post_init__(self) -> None:
        for broken, complaint in (
            (
                3 * self.progress_seconds > self.lease_seconds,
                "PROGRESS_SECONDS must be at most a third of LEASE_SECONDS",
            ),
            (
                self.request_timeout > self.lease_retain_seconds,
                "REQUEST_TIMEOUT must be at most LEASE_RETAIN_SECONDS",
            ),
            (
                not set(self.admin_key).isdisjoint(self.pre_shared_key),
                "ADMIN_KEY must not share a key with PRE_SHARED_KEY",
            ),
            (
                self.forget_key in (*self.pre_shared_key, *self.admin_key, self.open_ai_key),  # which are never empty
                "FORGET_KEY must differ from all other keys",
            ),
            (
                bool(self.aws_access_key_id) != bool(self.aws_secret_access_key),
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set together",
            ),
            (self.ops_port == self.port != 0, "OPS_PORT must differ from PORT"),
        ):
            if broken:
                raise SettingsError(complaint)


def _read(name: str, kind: Kind, text: str) -> Any:
    try:
        return kind.read(text)
    except (ValueError, RecursionError):
        # from None: the cause would show the text.
        raise SettingsError(f"{name} {kind.wants}") from None
