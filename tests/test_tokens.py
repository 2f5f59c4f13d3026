"""tokens.py against the vectors and the rules of docs/protocol.md, section 2."""

import base64
import json
from urllib.parse import parse_qs, quote, unquote, unquote_plus, urlsplit

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import assume, given
from hypothesis import strategies as st

from mcp_endpoint.tokens import TokenError, Tokens, agent_id, urls

KEY = "6a369b7f1bcf4d3e8d123ece38bb9627"
SINGLE = "xTr7w9G0EcAbf8IorLoBiE5b9K+CwZtl2DlcrI/9XpY="
TEST001 = "ksjXt49J8vgGbs8dXSkCcLG9i+s0PG777c8QRqjsF+eM+xgUJN5bAD9Ma7RteRt0"
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
IDS = st.text("abcXYZ019_.:-", min_size=1, max_size=64)


def seal(plain: str | bytes, key: str = KEY) -> str:
    """A token with any plaintext, made without the code under test."""
    raw = plain.encode() if isinstance(plain, str) else plain
    pad = 16 - len(raw) % 16
    return seal_padded(raw + bytes([pad]) * pad, key)


def seal_padded(padded: bytes, key: str = KEY) -> str:
    encryptor = Cipher(AES(key.encode()), ECB()).encryptor()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def refused(token: str, key: str = KEY) -> str:
    with pytest.raises(TokenError) as caught:
        Tokens(key).read(token)
    return str(caught.value)


def test_vectors_of_the_contract() -> None:
    tokens = Tokens(KEY)
    assert tokens.mint(None) == SINGLE
    assert tokens.mint("test001") == TEST001
    assert tokens.read(SINGLE) == "single_module"
    assert tokens.read(TEST001) == agent_id("test001") == "fa820cc1ad39a4e99283e9fa555035ec"


@pytest.mark.parametrize(
    ("key", "token"),
    [
        ("short", "I/c/ep3I87c7ld9T4RR4ciFwouT7QAf3jJPfBRdKVio="),
        ("verylongkeythatwillbetruncatedto32bytes", "ODxVBxhls7xq05ZgCVkaFEx/1n6b5RVg7bCEFpAduEs="),
        ("1234567890123456", "2ggUUMle6kGoMmpdrQCkPAUBh6DN5amHLLqwkatz5VM="),
    ],
)
def test_keys_of_other_lengths(key: str, token: str) -> None:
    assert Tokens(key).read(token) == "a"


@pytest.mark.parametrize("token", [SINGLE, TEST001])
@pytest.mark.parametrize(
    "in_url",
    [lambda t: quote(t, safe=""), lambda t: quote(t), lambda t: t],
    ids=["java", "python", "raw"],
)
@pytest.mark.parametrize("decode", [unquote, unquote_plus], ids=["plus-stays", "plus-is-space"])
def test_every_spelling_seen_in_urls(token, in_url, decode) -> None:
    assert Tokens(KEY).read(decode(in_url(token))) == Tokens(KEY).read(token)


@given(name=NAMES, key=st.text("abc中", min_size=1, max_size=40))
def test_round_trip(name: str, key: str) -> None:
    token = Tokens(key).mint(name)
    assert Tokens(key).read(token) == agent_id(name)
    assert Tokens(key).read(unquote_plus(quote(token))) == agent_id(name)
    assert token == Tokens(key).mint(name), "the same at every start"
    assert not any(word in quote(token, safe="").lower() for word in ("key", "call"))


def test_words_the_single_module_server_refuses_are_avoided() -> None:
    tokens = Tokens(KEY)
    plain = [f"agent{n}" for n in range(3000)]
    with_word = [
        name
        for name in plain
        if any(word in seal(f'{{"agentId": "{agent_id(name)}"}}').lower() for word in ("key", "call"))
    ]
    assert 1 <= len(with_word) <= 30
    for name in with_word:
        token = tokens.mint(name)
        assert not any(word in quote(token, safe="").lower() for word in ("key", "call"))
        assert tokens.read(token) == agent_id(name)
        fitting = (seal(f'{{"n":{n},"agentId": "{agent_id(name)}"}}') for n in range(100))
        assert token == next(t for t in fitting if not any(word in t.lower() for word in ("key", "call")))
    assert tokens.mint(plain[0]) == seal(f'{{"agentId": "{agent_id(plain[0])}"}}'), "else the console's own form"


@given(st.integers(0, 2**64))
def test_the_single_module_token_is_free_of_words_under_any_key(number: int) -> None:
    key = f"{number:032x}"
    token = Tokens(key).mint(None)
    assert not any(word in quote(token, safe="").lower() for word in ("key", "call"))
    assert Tokens(key).read(token) == "single_module"


def test_a_name_that_looks_like_an_id_is_hashed_all_the_same() -> None:
    name = agent_id("test001")
    assert Tokens(KEY).read(Tokens(KEY).mint(name)) == agent_id(name) != name


@given(st.data())
def test_any_single_bit_changed_is_refused(data: st.DataObject) -> None:
    sealed = bytearray(base64.b64decode(TEST001))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    refused(base64.b64encode(sealed).decode())


@given(st.integers(0, len(SINGLE) - 1), st.integers(0, 6))
def test_any_single_bit_of_the_text_changed_is_refused(at: int, bit: int) -> None:
    changed = SINGLE[:at] + chr(ord(SINGLE[at]) ^ 1 << bit) + SINGLE[at + 1 :]
    assume(changed.replace(" ", "+") != SINGLE)
    refused(changed)


@pytest.mark.parametrize(
    "alias",
    [
        SINGLE[:-2] + "Z=",  # the unused bits of the last character
        SINGLE[:-1],
        SINGLE + "=",
        SINGLE + "\n",
        SINGLE + " ",
        "\t" + SINGLE,
        SINGLE[:20] + "\n" + SINGLE[20:],
        SINGLE.replace("/", "_").replace("+", "-"),
        SINGLE + SINGLE,
        quote(SINGLE, safe=""),
        SINGLE.replace("/", "／"),
    ],
)
def test_aliases_are_refused(alias: str) -> None:
    refused(alias)


PASTED = [
    "{t}",
    '"{t}"',
    "'{t}'",
    "`{t}`",
    "<{t}>",
    "“{t}”",
    "「{t}」",
    '\\"{t}\\"',
    "{t}\n",
    "{t}\r\n",
    " {t} ",
    "\t{t}\u3000",
    "{t}\u200b",
    "\ufeff{t}",
    "{t},",
    "{t}。",
    "Bearer {t}",
    "bearer {t}",
    "BEARER  {t}",
    "Bearer:{t}",
    "bearer: {t}",
    "Bearer Bearer {t}",
    "Bearer bearer Bearer {t}",
    'Bearer "{t}"',
    '"Bearer {t}"',
    "Token {t}",
    "token={t}",
    "TOKEN={t}",
    '"token": "{t}"',
    "?token={t}",
    "Authorization: Bearer {t}",
    "Bearer {t}, Bearer {t}",
    "token={t}&token={t}",
    "ws://192.168.1.5:8004/mcp_endpoint/mcp/?token={t}",
    "wss://h/call/?token={t}&device=d",
    "http://h/mcp?device=d&token={t}#x",
    "http://h/mcp/?token=ws://h/mcp/?token={t}",
    "export MCP_ENDPOINT='ws://h/mcp/?token={t}'",
]


@pytest.mark.parametrize("text", PASTED)
@pytest.mark.parametrize("token", [SINGLE, TEST001])
@pytest.mark.parametrize("encoded", range(4))
def test_a_token_is_found_in_what_people_paste(text: str, token: str, encoded: int) -> None:
    tokens = Tokens(KEY)
    spelt = token
    for _ in range(encoded):
        spelt = quote(spelt, safe="")
    assert tokens.find(text.format(t=spelt)) == tokens.read(token)
    for _ in range(encoded, 3):
        whole = quote(text.format(t=spelt), safe="")
        assert tokens.find(whole) == tokens.read(token)


@pytest.mark.parametrize("text", ["{t}", '"{t}"', "Bearer {t}", '"Bearer {t}"', "{t}\n", "token={t}"])
def test_a_plus_that_became_a_space_is_a_plus_in_all_of_these(text: str) -> None:
    assert "+" in TEST001
    assert Tokens(KEY).find(text.format(t=TEST001.replace("+", " "))) == agent_id("test001")


@given(before=st.text(max_size=20), after=st.text(max_size=20), name=NAMES)
def test_whatever_stands_beside_it_no_other_agent_is_found(before: str, after: str, name: str) -> None:
    tokens = Tokens(KEY)
    try:
        found = tokens.find(before + tokens.mint(name) + after)
    except TokenError:
        return
    assert found == agent_id(name)


@pytest.mark.parametrize("wrapped", ["{t}", '"{t}"', "Bearer {t}", "http://h/mcp/?token={t}"])
@pytest.mark.parametrize(
    "alias",
    [
        SINGLE[:-2] + "Z=",
        SINGLE[:-1],
        SINGLE + "=",
        SINGLE + "==",
        SINGLE[:20] + "\n" + SINGLE[20:],
        SINGLE.replace("/", "_").replace("+", "-"),
        SINGLE.replace("/", "／"),
        SINGLE + SINGLE,
        TEST001 + TEST001,
        "x" + SINGLE,
        SINGLE + "x",
        SINGLE + "_x",
        "-" + SINGLE,
        SINGLE[:-5],
        SINGLE[5:],
    ],
)
def test_what_was_unwrapped_has_to_be_the_one_spelling(wrapped: str, alias: str) -> None:
    with pytest.raises(TokenError) as caught:
        Tokens(KEY).find(wrapped.format(t=alias))
    assert str(caught.value) == "token解密失败"


def test_tokens_of_two_agents_name_nobody() -> None:
    for text in (f"{SINGLE} {TEST001}", f"Bearer {SINGLE}, Bearer {TEST001}", f"?token={SINGLE}&token={TEST001}"):
        with pytest.raises(TokenError):
            Tokens(KEY).find(text)


def test_looking_for_a_token_is_bounded() -> None:
    words = [base64.b64encode(bytes([number]) * 32).decode() for number in range(100)]
    for text in (" ".join([*words, SINGLE]), "%25" * 5000 + SINGLE, "A" * 100_000 + " " + SINGLE):
        with pytest.raises(TokenError):
            Tokens(KEY).find(text)


@given(st.text(max_size=200) | st.text("AB/+=%25\"' :token", max_size=400))
def test_no_text_has_a_token_by_chance_or_raises_anything_else(text: str) -> None:
    with pytest.raises(TokenError):
        Tokens(KEY).find(text)


@pytest.mark.parametrize(
    "plain",
    [
        "",
        "null",
        "[]",
        '"agentId"',
        '["agentId"]',
        "{}",
        '{"n":0}',
        '{"agentId":""}',
        '{"agentId":null}',
        '{"agentId":1}',
        '{"agentId":["a"]}',
        '{"agentId":{"a":1}}',
        '{"agentId":"a b"}',
        '{"agentId":"a\\n"}',
        '{"agentId":"a\n"}',
        '{"agentId":"é"}',
        '{"agentId":"a/b"}',
        '{"agentId":"' + "a" * 65 + '"}',
        '{"agentId":"a","agentId":"a"}',
        '{"agentId":"a","agentId":"b"}',
        '{"agentId":"a","\\u0061gentId":"b"}',
        '{"agentId":"a","n":0,"n":1}',
        '{"agentId":"a","role":"admin"}',
        '{"agentid":"a"}',
        '{"agentId":"a","n":-1}',
        '{"agentId":"a","n":1.0}',
        '{"agentId":"a","n":true}',
        '{"agentId":"a","n":null}',
        '{"agentId":"a","n":"0"}',
        '{"agentId":"a"}x',
        '{"agentId":"a"',
        "{'agentId':'a'}",
        b'{"agentId":"\xff"}',
        b'\xef\xbb\xbf{"agentId":"a"}',
        "[" * 700,
        '{"agentId":"a"}' + " " * 2000,
    ],
)
def test_other_plaintexts_are_refused_with_one_reason(plain: str | bytes) -> None:
    assert refused(seal(plain)) == "token解密失败"


@pytest.mark.parametrize("tail", [b"\0", b"\1\2", b"\3\2\2", b"\x11" * 17, b"\x10" * 15 + b"\x0f"])
def test_bad_padding_is_refused(tail: bytes) -> None:
    start = b'{"agentId":"single_module"}'
    padded = start + b" " * (-(len(start) + len(tail)) % 16) + tail
    assert len(padded) % 16 == 0
    refused(seal_padded(padded))


@given(IDS, st.none() | st.integers(0, 2**40), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_plaintexts_of_other_programs_are_read(agent: str, n: int | None, separators: tuple[str, str]) -> None:
    members: dict[str, object] = {"agentId": agent} | ({} if n is None else {"n": n})
    assert Tokens(KEY).read(seal(json.dumps(members, separators=separators))) == agent


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    refused(text)


def test_another_key_refuses() -> None:
    refused(TEST001, KEY[::-1])


def test_the_error_and_the_object_show_no_secret() -> None:
    assert TEST001 not in refused(TEST001, KEY[::-1])
    assert KEY not in repr(Tokens(KEY))


@pytest.mark.parametrize(
    ("base", "start"),
    [
        ("http://192.168.1.5:8004", "ws://192.168.1.5:8004/mcp_endpoint"),
        ("https://example.org/", "wss://example.org/mcp_endpoint"),
        ("https://example.org/voice", "wss://example.org/voice/mcp_endpoint"),
        ("http://h:1/mcp_endpoint/", "ws://h:1/mcp_endpoint"),
        ("http://[::1]:8004", "ws://[::1]:8004/mcp_endpoint"),
    ],
)
def test_urls(base: str, start: str) -> None:
    tool, device = urls(base, TEST001)
    assert tool == f"{start}/mcp/?token={quote(TEST001, safe='')}"
    assert device == f"{start}/call/?token={quote(TEST001, safe='')}"
    assert parse_qs(urlsplit(tool).query, strict_parsing=True) == {"token": [TEST001]}


@pytest.mark.parametrize(
    "base", ["", "example.org:8004", "ftp://example.org", "http://", "http://h/?a=b", "http://h/#x"]
)
def test_bases_that_are_none(base: str) -> None:
    with pytest.raises(ValueError, match="not a base URL"):
        urls(base, TEST001)
