"""Frames that are not quite JSON: repaired where they can mean one thing, and known by their id where they cannot."""

import json
import math
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.repair.frames import LARGE, Flaw, Lost, Reading, read

FRAME = b'{"jsonrpc":"2.0","id":7,"result":{"t":"x"}}'
OTHER = b'{"jsonrpc":"2.0","id":8,"result":{}}'
COLOURED = (
    b'\x1b[1;39m{\x1b[0m\x1b[34;1m"jsonrpc"\x1b[0m:\x1b[0;32m"2.0"\x1b[0m,"id":7,"result":{"t":"x"}\x1b[1;39m}\x1b[0m'
)

HALF = [Flaw.HALF_CHARACTER]

texts = st.text(st.characters(exclude_categories=[])) | st.lists(
    st.sampled_from(["\ud83d", "\ude00", "\\", '"', "u", "ud83d", "\n", "\0", "\x1b[1m", "NaN", "中", "\u2028"])
).map("".join)
numbers = st.integers(-(2**53), 2**53) | st.floats()
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


def whole(text: str) -> str:
    """The text with U+FFFD for each surrogate that is no half of a pair."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def leniently(value: Any) -> Any:
    """What a value of a lenient reader stands for in JSON."""
    match value:
        case str():
            return whole(value)
        case float() if not math.isfinite(value):
            return None
        case list():
            return [leniently(one) for one in value]
        case dict():
            return {whole(name): leniently(one) for name, one in value.items()}
    return value


def clean(frame: bytes) -> bool:
    try:
        wire.read(frame)
        frame.decode()
    except ValueError:
        return False
    return True


@given(values, st.booleans(), st.sampled_from([None, 1]))
@example(["\ud83d", "\ude00\ud83d", "\ud83d\ude00", float("nan"), -math.inf, "NaN"], True, None)
def test_a_repaired_frame_is_what_a_lenient_reader_makes_of_it(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    spelled = json.dumps({"jsonrpc": "2.0", "id": 7, "result": value}, ensure_ascii=ascii_only, indent=indent)
    frame = spelled.encode(errors="surrogatepass")
    if clean(frame):
        assert json.loads(frame) == json.loads(spelled), "it is passed on as it is"
        return
    reading = read(frame)
    assert reading.lost is None
    [one] = reading.frames
    assert clean(one)

    def refused(word: str) -> None:
        raise AssertionError(word)

    want = leniently(json.loads(spelled))
    assert json.loads(one, parse_constant=refused) == want


@given(values)
def test_a_clean_frame_stays_what_it_is(value: Any) -> None:
    frame = json.dumps({"jsonrpc": "2.0", "id": 7, "result": leniently(value)}).encode()
    assert clean(frame), "so that nobody asks for a repair"
    assert read(frame) == Reading((frame,))


@given(values, st.binary(max_size=20), st.binary(max_size=20))
def test_whatever_comes_is_read_without_an_error(value: Any, before: bytes, after: bytes) -> None:
    spelled = json.dumps({"jsonrpc": "2.0", "id": 7, "result": value}, ensure_ascii=False)
    reading = read(before + spelled.encode(errors="surrogatepass") + after)
    assert all(clean(one) for one in reading.frames)


@pytest.mark.parametrize(
    ("frame", "want", "flaws"),
    [
        (b"\xef\xbb\xbf" + FRAME, [FRAME], []),
        (b"\xef\xbb\xbf\xef\xbb\xbf \0" + FRAME + b"\0\0\r\n", [FRAME], []),
        (FRAME + OTHER, [FRAME, OTHER], [Flaw.SEVERAL]),
        (FRAME + b"\r" + OTHER + b"\r\n", [FRAME, OTHER], [Flaw.SEVERAL]),
        (b"[" + FRAME + b", " + OTHER + b"]", [FRAME, OTHER], []),
        (b"[" + FRAME + b", 3, []]", [FRAME], []),
        (b"[" + FRAME.replace(b"x", rb"\ud83d") + b"]", [FRAME.replace(b"x", rb"\ufffd")], HALF),
        (b'INFO server "x" has {started} ' + FRAME + b" ok", [FRAME], [Flaw.OTHER_TEXT]),
        (b'WARN: {"a": 1} ' + FRAME, [FRAME], [Flaw.OTHER_TEXT]),
        (b'it said {"a" and ' + FRAME, [FRAME], [Flaw.OTHER_TEXT]),
        (b"Content-Length: 42" + FRAME, [FRAME], [Flaw.OTHER_TEXT]),
        (b"\x1b[32m" + FRAME + b"\x1b[0m", [FRAME], [Flaw.OTHER_TEXT]),
        (COLOURED, [FRAME], [Flaw.OTHER_TEXT]),
        (b"50%\r100%\r" + FRAME, [FRAME], [Flaw.OTHER_TEXT]),
        (FRAME.replace(b":7,", b":7,\x0c\x0b\xc2\xa0\xc2\x85\xe2\x80\xa8"), [FRAME.replace(b":7,", b":7,     ")], []),
        (FRAME.decode().encode("utf-16"), [FRAME], [Flaw.UTF16]),
        (b"\0" + FRAME.decode().encode("utf-16-le") + b"\r\0", [FRAME], [Flaw.UTF16]),
        (FRAME.decode().encode("utf-16-be") + b"\0", [FRAME], [Flaw.UTF16]),
        (FRAME.replace(b"x", b"a\tb\nc"), [FRAME.replace(b"x", rb"a\u0009b\u000ac")], [Flaw.LOOSE]),
        (FRAME.replace(b'"}', b'",},'), [FRAME], [Flaw.LOOSE]),
        (FRAME.replace(b'"x"', b"[True, None, False]"), [FRAME.replace(b'"x"', b"[true, null, false]")], [Flaw.LOOSE]),
        (FRAME.replace(b'"x"', b"[-nan, inf, 1]"), [FRAME.replace(b'"x"', b"[null, null, 1]")], [Flaw.NOT_A_NUMBER]),
        (FRAME.replace(b"x", b"\xed\xa0\xbd\xed\xb8\x80"), [FRAME.replace(b"x", "😀".encode())], HALF),
        (FRAME.replace(b"x", b"\xed\xa0\xbd"), [FRAME.replace(b"x", "\ufffd".encode())], HALF),
        (FRAME[:-3] + "中".encode() + b"\xe4\xb8" + FRAME[-3:], [FRAME[:-3] + "中\ufffd".encode() + FRAME[-3:]], HALF),
        (FRAME.replace(b'"2.0"', b"2.0"), [FRAME], []),
        (json.dumps(FRAME.decode()).encode(), [FRAME], []),
        (json.dumps(json.dumps(FRAME.decode())).encode(), [], []),
        (FRAME.replace(b"7,", b'7,"method":null,'), [FRAME], []),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_what_can_mean_one_thing(frame: bytes, want: list[bytes], flaws: list[Flaw]) -> None:
    reading = read(frame)
    assert list(reading.frames) == want
    assert sorted({flaw.name for flaw in reading.flaws}) == sorted(flaw.name for flaw in flaws)


GBK = '{"jsonrpc":"2.0","id":7,"result":{"t":"中文，没有"}}'.encode("gbk")
DEEP = b"[" * 3000 + b"]" * 3000


@pytest.mark.parametrize(
    ("frame", "id_", "is_request", "flaw"),
    [
        (GBK, b"7", False, Flaw.GBK),
        ('{"result":{"t":"中文"},"jsonrpc":"2.0","id":7}'.encode("gbk"), b"7", False, Flaw.GBK),
        ('{"jsonrpc":"2.0","id":7,"result":{"t":"café"}}'.encode("latin-1"), b"7", False, Flaw.NOT_UTF8),
        (b'{"jsonrpc":"2.0","id":7,"result":' + DEEP + b"}", b"7", False, Flaw.TOO_DEEP),
        (b'{"result":' + DEEP + b',"jsonrpc":"2.0","id":7}', b"7", False, Flaw.TOO_DEEP),
        (rb'{"jsonrpc":"2.0","id":7,"result":{"t":"C:\dir"}}', b"7", False, Flaw.NOT_JSON),
        (rb'{"jsonrpc":"2.0","result":{"t":"C:\dir"},"id":7}', b"7", False, Flaw.NOT_JSON),
        (rb'{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"t":"\x"}}', b'"a-1"', True, Flaw.NOT_JSON),
        (rb'{"method":"tools/call","params":{"t":"\x"},"jsonrpc":"2.0","id":7}', b"7", True, Flaw.NOT_JSON),
        (b"{'jsonrpc': '2.0', 'id': 7, 'result': {}}", b"7", False, Flaw.NOT_JSON),
        (b'{"jsonrpc":"2.0","id":7,"result":{"t":undefined}}', b"7", False, Flaw.NOT_JSON),
        (b'{"jsonrpc":"2.0","id":7,"result":{"t":"x', b"7", False, Flaw.CUT_SHORT),
        (b'{"jsonrpc":"2.0","id":7,"result":["' + b"x" * LARGE + b'",NaN]}', b"7", False, Flaw.NOT_A_NUMBER),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_lost_and_whose_it_was(frame: bytes, id_: bytes, is_request: bool, flaw: Flaw) -> None:
    reading = read(frame)
    assert reading.frames == ()
    assert reading.lost == Lost(id_, is_request, flaw)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"Starting {server}",
        b'{"level":"info","msg":"x"}',
        b'{"level":"info","msg":NaN}',
        b'{"level":"info","id":7,"t":"\xff"}',
        b"[1, 2",
        b'{"jsonrpc":"2.0","result":{"items":[{"id":7}',
        b'{"result":{"a":"b',
        b"{" * 5000,
    ],
)
def test_what_is_printed_is_nobodys(frame: bytes) -> None:
    reading = read(frame)
    assert (reading.frames, reading.lost) == ((), None)


def test_an_answer_that_shares_a_line_with_half_of_another_is_read_and_the_other_is_known() -> None:
    reading = read(b'{"jsonrpc":"2.0","id":3,"result":{"te' + FRAME)
    assert reading.frames == (FRAME,)
    assert reading.lost is not None
    assert reading.lost.id == b"3"


@pytest.mark.parametrize("frame", [b"{", b'{"jsonrpc": "2.0",', b'{"jsonrpc":"2.0","id":7,"result":{"t":"x'])
def test_a_frame_that_may_go_on(frame: bytes) -> None:
    assert read(frame).goes_on


@pytest.mark.parametrize("frame", [b"Config {", FRAME, b"{}", rb'{"a":"\x"}', b'log {"a":'])
def test_a_text_that_is_over(frame: bytes) -> None:
    assert not read(frame).goes_on


HOSTILE = {
    "halves": rb"\ud83d",
    "escapes": rb"\n\\",
    "controls": b"\x01",
    "quotes": b'"',
    "objects": b'{"id":{}}',
    "frames": b'{"jsonrpc":"2.0"}',
    "beginnings": b'{"jsonrpc":',
    "lists": b"[],",
    "NaN": b"NaN,",
    "signs": b"+-",
    "spaces": b"\t ",
    "escapes of colours": b"\x1b[1;",
    "wide": b"{\0",
    "GBK": "中".encode("gbk"),
    "halves in bytes": b"\xed\xa0\xbd",
    "BOM": b"\xef\xbb\xbf",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_worked_off_in_one_pass(unit: bytes) -> None:
    """A step that is not linear would take minutes for these, and the test with it."""
    for head in (b'{"jsonrpc":"2.0","id":7,"result":["', b'{"jsonrpc":"2.0","id":7,"result":[', b"", b"x"):
        reading = read(head + unit * (LARGE // 2 // len(unit)))
        assert all(clean(one) for one in reading.frames)


def test_every_flaw_has_words_in_both_languages() -> None:
    for flaw in Flaw:
        assert re.search("[一-鿿]", flaw.zh)
        assert not re.search("[一-鿿]", flaw.en)
