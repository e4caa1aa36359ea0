"""Our signatures against those of botocore's own signer."""

import datetime
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from gptdock.ledger import sigv4
from gptdock.ledger.http_client import Server

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
URLS = st.sampled_from(
    [
        "https://dynamodb.eu-west-1.amazonaws.com",
        "https://dynamodb.eu-west-1.amazonaws.com:443/",
        "http://Localhost:8000",
        "http://127.0.0.1:80",
        "https://127.0.0.1:80",
        "http://[::1]",
        "https://[2001:db8::1]:8443",
    ]
)


def signed_by_botocore(url, region, credentials, operation, body, second):
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    request = AWSRequest("POST", url.rstrip("/") + "/", data=body, headers=headers)
    with pytest.MonkeyPatch.context() as patch:
        moment = datetime.datetime.fromtimestamp(second, datetime.UTC)
        patch.setattr("botocore.auth.get_current_datetime", lambda **_: moment)
        SigV4Auth(credentials, "dynamodb", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(
    URLS,
    st.sampled_from(["us-east-1", "eu-west-1", "local"]),
    st.builds(Credentials, VISIBLE, VISIBLE, st.none() | VISIBLE),
    st.sampled_from(["UpdateItem", "GetItem"]),
    st.binary(),
    st.integers(0, 4_000_000_000),
)
def test_a_signature_is_botocore_s(url, region, credentials, operation, body, second):
    expected = signed_by_botocore(url, region, credentials, operation, body, second)

    host = Server.at(url, tls=None if url.startswith("http:") else object()).header  # type: ignore[arg-type]
    lines = sigv4.headers(host, region, credentials, operation, body, second).split("\r\n")

    assert lines.pop() == ""
    sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert sent.pop("host") == (urlsplit(url).netloc.lower().removesuffix(":443") if ":80" not in url else host)
    assert sent == expected
