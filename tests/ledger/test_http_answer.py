"""HTTP answers, as bytes that come in any pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.ledger import http_answer
from gptdock.ledger.http_answer import Answer, BrokenAnswer

DATE = "Thu, 26 Nov 2026 11:00:00 GMT"
PLAIN = f"HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: 5\r\n\r\nhello".encode()
CHUNKED = (
    b"HTTP/1.1 400 Bad Request\r\nTRANSFER-ENCODING:chunked\r\nConnection: Keep-Alive\r\n\r\n"
    b"3;name=value\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
)
CLOSING = b"HTTP/1.1 503 \r\ncontent-length: 0 \r\nConnection: close\r\n\r\n"
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"

ANSWERS = {
    PLAIN: Answer(200, b"hello", DATE, True),
    CHUNKED: Answer(400, b"hello", "", True),
    CLOSING: Answer(503, b"", "", False),
    OLD: Answer(200, b"{}", "", False),
}
BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "another version": b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "a blank before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "a length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
    "a length with an underscore": b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n0123456789",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
    "a length that is too long": b"HTTP/1.1 200 OK\r\nContent-Length: 4194305\r\n\r\n",
    "a coding that nobody asked for": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a chunk without a size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
    "a chunk of another size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "a chunk that is too long": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400001\r\n",
    "too many chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + 5 * (b"100000\r\n" + 2**20 * b"x" + b"\r\n"),
    "a head without end": b"HTTP/1.1 200 OK\r\n" + 70_000 * b"x",
    "a line without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + 70_000 * b"1",
}


def read(*pieces: bytes) -> Answer | None:
    """The answer in these pieces; None if it is not whole. What comes behind it is not sent."""
    reading = http_answer.reading()
    next(reading)
    for piece in pieces:
        try:
            reading.send(piece)
        except StopIteration as whole:
            answer: Answer = whole.value
            return answer
    return None


@pytest.mark.parametrize("data", ANSWERS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_answer_survives_any_pieces(data, size):
    pieces = [data[start : start + size] for start in range(0, len(data), size)]

    assert read(*pieces) == ANSWERS[data]


@pytest.mark.parametrize("data", ANSWERS)
def test_an_answer_is_not_whole_before_its_last_byte(data):
    assert [read(data[:end]) for end in range(1, len(data))] == [None] * (len(data) - 1)


@pytest.mark.parametrize("data", [PLAIN, CLOSING, OLD])
def test_an_answer_in_one_piece_is_read_at_once_if_it_is_that_and_no_more(data):
    assert http_answer.whole(data) == ANSWERS[data]
    assert [http_answer.whole(data[:end]) for end in range(len(data))] == [None] * len(data)
    assert http_answer.whole(data + b"H") is None


@pytest.mark.parametrize("data", [CHUNKED, PLAIN.replace(b"Date:", b"X-Long: " + 70_000 * b"x")])
def test_an_answer_in_chunks_or_with_a_long_head_is_read_by_pieces(data):
    assert http_answer.whole(data) is None


@pytest.mark.parametrize("data", ANSWERS)
def test_a_connection_with_bytes_behind_an_answer_is_not_kept(data):
    assert read(data + b"H") == ANSWERS[data]._replace(keep=False)


@pytest.mark.parametrize("how", BROKEN)
def test_an_odd_answer_is_broken(how):
    with pytest.raises(BrokenAnswer):
        read(BROKEN[how])


@given(st.lists(st.sampled_from([*PLAIN, *CHUNKED]).map(lambda byte: bytes([byte])) | st.binary()))
def test_whatever_comes_is_an_answer_or_broken_or_not_whole(pieces):
    for start in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED[:80]):
        try:
            answer = read(b"".join([start, *pieces]))
            assert http_answer.whole(b"".join([start, *pieces])) in (None, answer)
            read(start, *pieces)
        except BrokenAnswer:
            continue


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1))
def test_chunks_of_any_size_carry_any_body(body, sizes):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    rest = body
    while rest:
        size = sizes[len(rest) % len(sizes)]
        data += f"{len(rest[:size]):X}\r\n".encode() + rest[:size] + b"\r\n"
        rest = rest[size:]

    assert read(data, b"0\r\n", b"\r\n") == Answer(200, body, "", True)
