"""Frames are read by their envelope only; what is inside stays the peer's own bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.json import decode, encode

from mcp_endpoint.wire import envelope as wire

jsons = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(jsons)
def test_params_keep_their_bytes(value: object) -> None:
    spelled = json.dumps(value, ensure_ascii=False, indent=1).encode()
    frame = b'{ "jsonrpc" : "2.0","id": 7 , "method":"tools/call","params": %b }' % spelled
    envelope = wire.read(frame)
    assert envelope.params is not UNSET
    assert bytes(envelope.params) == spelled
    assert envelope.id is not UNSET
    assert bytes(envelope.id) == b"7"
    assert wire.one_line(spelled) == spelled.replace(b"\n", b" ")


@pytest.mark.parametrize(
    "raw", [b"0", b'""', b'"1"', b"1", b"9007199254740993", '"é😀"'.encode(), b"-5", b"123456789012345678901234567890"]
)
def test_ids_that_are_good(raw: bytes) -> None:
    assert wire.id_key(raw) == raw


@pytest.mark.parametrize("raw", [b"null", b"true", b"1.0", b"1e3", b"[]", b"{}", b"-", b"-0.5", rb'"\ud800"'])
def test_ids_that_are_not(raw: bytes) -> None:
    assert wire.id_key(raw) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=wire.LONGEST_ID // 12 - 1))  # escaped it fits too
def test_equal_ids_have_equal_keys_however_they_are_spelled(text: str) -> None:
    plain, escaped = encode(text), json.dumps(text, ensure_ascii=True).encode()
    assert wire.id_key(plain) == wire.id_key(escaped)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"hello",
        b"{",
        b"{}x",
        b'{"id":01}',
        b'{"params":"\n"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=lambda frame: repr(frame[:12]),
)
def test_not_json(frame: bytes) -> None:
    with pytest.raises(wire.NotJson):
        wire.read(frame)


@pytest.mark.parametrize(
    ("frame", "id_"),
    [
        (b"[]", b"null"),
        (b"3", b"null"),
        (b'"x"', b"null"),
        (b'{"id":4,"method":5}', b"4"),
        (b'{"id":{},"jsonrpc":2}', b"null"),
    ],
)
def test_json_that_is_no_envelope(frame: bytes, id_: bytes) -> None:
    with pytest.raises(wire.NotAnEnvelope) as caught:
        wire.read(frame)
    assert caught.value.id == id_


@given(st.text(st.sampled_from('a"\\\u0085\u2028\u2029\u2027é')))
def test_no_reader_of_lines_finds_an_end_within_a_frame(text: str) -> None:
    frame = json.dumps({"t": text}, ensure_ascii=False).encode()
    safe = wire.no_separators(frame)
    assert json.loads(safe) == {"t": text}
    assert len(safe.decode().splitlines()) == 1


@given(st.text(max_size=20), st.text(max_size=20))
def test_failures_are_json_whatever_is_in_them(message: str, detail: str) -> None:
    message, detail = (text.encode(errors="replace").decode() for text in (message, detail))
    frame = decode(wire.failure(b'"id"', -32001, message, {"details": detail}))
    assert frame == {
        "jsonrpc": "2.0",
        "id": "id",
        "error": {"code": -32001, "message": message, "data": {"details": detail}},
    }
