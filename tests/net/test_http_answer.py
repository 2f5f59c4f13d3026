"""What an answer over HTTP says, in a line: pure."""

import pytest

from mcp_endpoint.net.http_answer import HttpAnswer, is_json


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("application/json", b'{"error": {"message": "no such key"}}', "no such key"),
        ("application/problem+json; charset=utf-8", b'{"title": "Bad", "status": 400}', "Bad"),
        (
            "text/html",
            b"<html><head><title>Sign in &amp; go on</title></head><body>trace</body></html>",
            "Sign in & go on",
        ),
        ("text/plain; charset=GBK", "键无效".encode("gbk"), "键无效"),
        ("text/plain; charset=none-such", b"plain", "plain"),
        ("image/png", b"\x89PNG\0\0", ""),
        ("", b"Bad Request", ""),
    ],
)
def test_the_servers_own_words(content_type: str, body: bytes, said: str) -> None:
    answer = HttpAnswer.of(400, {"Content-Type": content_type}, body)
    assert answer.told() == "HTTP 400 Bad Request" + (f": {said}" if said else "")


def test_when_to_come_again() -> None:
    answer = HttpAnswer.of(429, {"Content-Type": "text/plain", "Retry-After": "30"}, b"slow down")
    assert answer.told() == "HTTP 429 Too Many Requests: slow down (Retry-After: 30)"
    assert HttpAnswer.of(599, {}, b"").told() == "HTTP 599"


def test_a_text_in_utf_16_is_none_that_is_told_and_can_be_read() -> None:
    answer = HttpAnswer.of(200, {"Content-Type": "application/json; charset=utf-16"}, '{"a": "键"}'.encode("utf-16"))
    assert answer.is_binary
    assert answer.text == '{"a": "键"}'


def test_what_is_json() -> None:
    assert [is_json(kind) for kind in ("application/json", "text/json", "application/x+json", "text/html")] == [
        True,
        True,
        True,
        False,
    ]
