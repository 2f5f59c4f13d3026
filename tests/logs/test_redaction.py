"""What redaction cuts out of a text, what it leaves, and that it does so in linear time."""

import base64
import hashlib
import json
import re
import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.logs.redaction import MASK, Redactor, escape_controls, quote_peer, redact

KEY = "6a369b7f1bcf4d3e8d123ece38bb9627"
AGENT = "fa820cc1ad39a4e99283e9fa555035ec"
TOKENS = [  # docs/protocol.md, section 2.4
    "xTr7w9G0EcAbf8IorLoBiE5b9K+CwZtl2DlcrI/9XpY=",
    "ksjXt49J8vgGbs8dXSkCcLG9i+s0PG777c8QRqjsF+eM+xgUJN5bAD9Ma7RteRt0",
    "I/c/ep3I87c7ld9T4RR4ciFwouT7QAf3jJPfBRdKVio=",
    "ODxVBxhls7xq05ZgCVkaFEx/1n6b5RVg7bCEFpAduEs=",
    "2ggUUMle6kGoMmpdrQCkPAUBh6DN5amHLLqwkatz5VM=",
]
FORMS = {
    "plain": lambda token: token,
    "unpadded": lambda token: token.rstrip("="),
    "quoted": lambda token: quote(token),
    "java": lambda token: quote_plus(token),
    "lower": lambda token: re.sub("%..", lambda octet: octet[0].lower(), quote(token, safe="")),
    "twice": lambda token: quote(quote(token, safe=""), safe=""),
    "url alphabet": lambda token: token.translate(str.maketrans("+/", "-_")),
    "slashes escaped": lambda token: token.replace("/", "\\/"),
    "gson": lambda token: token.replace("=", "\\u003d"),
}
CONTEXTS = [
    "{}",
    "the token {} is old",
    "<{}>",
    '{{"url":"wss://example.com/mcp/{}","n":1}}',
    "令牌{}无效",
    "/mcp_endpoint/mcp/{}/x",
    "a%20{}%20b",
    "[{}, {}]",
]


def leaks(secret: str, text: str) -> list[str]:
    """Pieces of 12 characters of `secret` that are left in `text`."""
    return [secret[i : i + 12] for i in range(len(secret) - 11) if secret[i : i + 12] in text]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_tokens_standing_alone_are_cut(form: str, context: str) -> None:
    for token in TOKENS:
        written = FORMS[form](token)
        text = redact(context.replace("{}", written).replace("{{", "{").replace("}}", "}"))
        assert MASK in text
        assert not leaks(written, text)


@given(seed=st.integers(), size=st.sampled_from([32, 48, 64, 96]), form=st.sampled_from(sorted(FORMS)))
def test_random_tokens_are_cut(seed: int, size: int, form: str) -> None:
    block = hashlib.shake_256(str(seed).encode()).digest(size)
    written = FORMS[form](base64.b64encode(block).decode())
    assert redact(f"before {written} after") == f"before {MASK} after"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /mcp/?token=abc HTTP/1.1", "GET /mcp/?token=*** HTTP/1.1"),
        ("GET /mcp/?token=abc def HTTP/1.1", "GET /mcp/?token=*** HTTP/1.1"),
        ("/mcp/?a=1&token=x&server_id=calc", "/mcp/?a=1&token=***&server_id=calc"),
        ('"GET /health?key=wrong HTTP/1.1" 200', '"GET /health?key=*** HTTP/1.1" 200'),
        ("wss://h/mcp/?TOKEN=a%2Fb", "wss://h/mcp/?TOKEN=***"),
        ("next=%2Fmcp%2F%3Ftoken%3Dabc end", "next=%2Fmcp%2F%3Ftoken%3D*** end"),
        ("%253Fkey%253Dabc end", "%253Fkey%253D*** end"),
        (r"{\"url\":\"/?token\u003dabc\",\"n\":1}", r"{\"url\":\"/?token\u003d***\",\"n\":1}"),
        ("QueryParams('token=a,b;c')", "QueryParams('token=***')"),
        ("token='with a space', next", "token='***', next"),
        ("{'query_string': b'token=abc'}", "{'query_string': b'token=***'}"),
        ("token=it's&n=1", "token=***&n=1"),
        ('{"token": "short", "name": "n"}', '{"token": "***", "name": "n"}'),
        ("access_token=abc api_key=def", "access_token=*** api_key=***"),
        ("Authorization: Bearer abc\r\nHost: h", "Authorization: Bearer ***\r\nHost: h"),
        ("authorization: abc", "authorization: ***"),
        ("(b'authorization', b'Bearer abc'), (b'host', b'h')", "(b'authorization', b'Bearer ***'), (b'host', b'h')"),
        ('{"Authorization":"Basic dTpw"}', '{"Authorization":"Basic ***"}'),
        ("sent Bearer a1b2c3", "sent Bearer ***"),
    ],
)
def test_what_is_called_a_secret_is_cut(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        f"agent {AGENT}: tool side calc connected from 10.0.0.7:51234",
        f'{{"agentId": "{AGENT}"}}',
        "a" * 64,
        f"{AGENT}{AGENT}",
        'File "/opt/app/.venv/lib/python3.11/site-packages/uvicorn/protocols/http/httptools_impl.py", line 4',
        "/home/User/Projects/McpEndpoint/Documents/2026/Autumn/README",
        "test_a_name_that_was_shown_once_goes_on_working_for_the_session",
        "HTTPToolsProtocolConnectionLostBeforeResponseWasComplete",
        "https://modelcontextprotocol.io/specification/2025-11-25/basic/transports",
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"key":"v"},'
        '"_meta":{"progressToken":7}}}',
        "progressToken=7 max_tokens=4 tokens: 3",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "no Bearer token was sent; authorization is needed",
        "缺少token参数 · token解密失败 · 密钥验证失败",
        "6b0e1a36-5bd0-4a47-9a6c-7f3c2b9d1e55 8F14E45FCEEA167A5A36DEDD4BEA2543",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text, [KEY]) == text


@pytest.mark.parametrize(
    "secret", [KEY, "pass word&x=/+", "密钥是中文的", "quo\"te's", "back\\slash\n%41", "pa\udc80ss"]
)
def test_a_configured_secret_is_cut_in_every_spelling(secret: str) -> None:
    data = secret.encode(errors="surrogatepass")
    spellings = {
        secret,
        quote(secret, errors="surrogatepass"),
        quote(secret, safe="", errors="surrogatepass"),
        quote_plus(secret, errors="surrogatepass"),
        quote(quote(secret, safe="", errors="surrogatepass"), safe=""),
        quote(secret, safe="", errors="surrogatepass").lower(),
        repr(secret)[1:-1],
        repr(data)[2:-1],
        json.dumps(secret)[1:-1],
        data.decode("latin-1"),
    }
    cut = Redactor([secret])
    for spelling in spellings:
        assert cut(f"<{spelling}>") == "<***>"
        assert redact(f"<{spelling}>", [secret]) == "<***>"


def test_a_secret_too_short_to_be_one_leaves_lines_readable() -> None:
    assert redact("a line about nothing, ?key=a&n=1", ["a", ""]) == "a line about nothing, ?key=***&n=1"


MEGABYTE = 1_000_000
HARD = [
    "a",
    "%",
    "\\",
    "=",
    "token=",
    "token= ",
    "token='",
    'key="a',
    "%2B",
    "%25",
    "a" * 39 + " ",
    "Bearer ",
    "Aa1",
    "a_B_1_",
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("piece", HARD)
def test_a_megabyte_takes_linear_time(piece: str) -> None:
    # A quadratic pattern needs minutes for this; the timeout is the check.
    text = (piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE]
    assert redact(text + " end", [KEY]).endswith((" end", MASK))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("opening", ["token=", "token='", "authorization: ", "authorization", "Bearer ", "token%", KEY])
@pytest.mark.parametrize("filling", [" ", "a", "25", "' ", "\\"])
def test_a_long_tail_takes_linear_time(opening: str, filling: str) -> None:
    assert KEY not in redact(opening + filling * MEGABYTE, [KEY])


def test_a_megabyte_of_base64_is_cut_whole() -> None:
    blob = base64.b64encode(hashlib.shake_256(b"blob").digest(MEGABYTE)).decode()
    assert redact(f"data {blob} end") == "data *** end"


UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@given(st.text(st.characters(max_codepoint=sys.maxunicode), max_size=300), st.integers(1, 250))
def test_quoted_peer_text_is_one_printable_line_within_its_limit(text: str, limit: int) -> None:
    quoted = quote_peer(text, limit)
    assert not UNFIT.search(quoted)
    assert len(quoted) <= limit
    assert quoted == escape_controls(redact(text)) or quoted.endswith("…")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\tc\x1b[31m\x00\x7f\x9b", "a\\r\\nb\\tc\\x1b[31m\\x00\\x7f\\x9b"),
        ("\u202egnp.exe\u2066\u2028\u2029\ud800", "\\u202egnp.exe\\u2066\\u2028\\u2029\\ud800"),
        ("计算器 é😀", "计算器 é😀"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("x" * 198 + "\n" + "y" * 9, "x" * 198 + "…"),
        ("/mcp/?token=abc", "/mcp/?token=***"),
    ],
)
def test_quoted_peer_text(text: str, expected: str) -> None:
    assert quote_peer(text) == expected


@pytest.mark.parametrize("before", range(100, 210, 7))
def test_a_token_at_the_cut_leaves_no_half(before: int) -> None:
    for token in TOKENS:
        assert not leaks(token, quote_peer("x " * (before // 2) + token + " and more" * 50))
