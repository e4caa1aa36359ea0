"""Pure: signs requests to DynamoDB by AWS Signature Version 4: values in, header lines out.

Every request is a POST to `/` of JSON, so only the operation, the second, the credentials and the body vary. The tests
hold each signature against botocore's own.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

_TYPE = "application/x-amz-json-1.0"


class Credentials(Protocol):
    """An access key with its secret and, if it expires, its session token; as botocore freezes them."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


def headers(host: str, region: str, credentials: Credentials, operation: str, body: bytes, second: int) -> str:
    """The header lines of a request that is sent at this Unix second, Host included; each ends with CR LF."""
    now = _stamp(second)
    scope = f"{now[:8]}/{region}/dynamodb/aws4_request"
    names, signed, lines = _fields(host, operation, credentials.token, now)
    canonical = f"{signed}{hashlib.sha256(body).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = _key(credentials.secret_key, now[:8], region).copy()
    signature.update(text.encode())
    whose = f"Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature.hexdigest()}"
    return f"{lines}Authorization: AWS4-HMAC-SHA256 {whose}\r\n"


@lru_cache(maxsize=8)  # one for each operation, anew each second
def _fields(host: str, operation: str, token: str | None, now: str) -> tuple[str, str, str]:
    """The names that are signed, what is signed but for the hash of the body, and the lines."""
    fields = {"Content-Type": _TYPE, "Host": host, "X-Amz-Date": now}
    if token:
        fields["X-Amz-Security-Token"] = token
    fields["X-Amz-Target"] = f"DynamoDB_20120810.{operation}"  # in this order, which is the alphabet's, they are signed
    names = ";".join(fields).lower()
    signed = "".join([f"{name.lower()}:{value}\n" for name, value in fields.items()])
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    return names, f"POST\n/\n\n{signed}\n{names}\n", lines


@lru_cache(maxsize=2)
def _stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=4)
def _key(secret_key: str, day: str, region: str) -> hmac.HMAC:
    """What a signature begins with, to be copied: that takes two thirds of the time of a new one."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "dynamodb", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")
