"""Results that are made short enough for a device."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode, encode

from mcp_endpoint.wire.xiaozhi.cut import NOTES, cut, shortened


def result(*texts: str, **members: object) -> bytes:
    return encode({"content": [{"type": "text", "text": text} for text in texts]} | members)


def texts(raw: object) -> list[str]:
    return [block["text"] for block in decode(bytes(raw))["content"]]  # type: ignore[call-overload]


def test_what_is_short_enough_is_the_very_same() -> None:
    raw = b'{"content" : [ {"type":"text","text":"short"} ], "x":1.50}'
    assert shortened(raw, len(raw), "zh") is raw


def test_long_text_ends_behind_a_sentence_and_says_so() -> None:
    (text,) = texts(shortened(result("今天晴。明天有雨！后天" * 100), 300, "zh"))
    assert text.removesuffix(NOTES["zh"])[-1] in "。！"
    assert 50 < len(text) < 100
    (text,) = texts(shortened(result("Two is 2.5 long. Three " * 100), 300, "en"))
    assert text.endswith("long." + NOTES["en"])


def test_text_without_sentences_is_cut_between_characters() -> None:
    (text,) = texts(shortened(result("气温上升" * 500), 300, "zh"))
    assert text.endswith(NOTES["zh"])
    assert 50 < len(text) < 100


def test_what_stands_behind_a_cut_text_goes_and_so_does_its_twin_for_programs() -> None:
    raw = result("short.", "x" * 5000, "end", structuredContent={"text": "x" * 5000}, isError=True)
    cut_result = decode(shortened(raw, 1000, "en"))
    assert [block["text"][:6] for block in cut_result["content"]] == ["short.", "xxxxxx"]
    assert cut_result["isError"] is True
    assert "structuredContent" not in cut_result


def test_what_is_structured_stays_whole_where_it_fits() -> None:
    raw = result("x" * 5000, structuredContent={"text": "y" * 300})
    assert decode(shortened(raw, 1000, "en"))["structuredContent"] == {"text": "y" * 300}
    raw = result("x" * 5000, structuredContent={"text": "y" * 600})
    assert "structuredContent" not in decode(shortened(raw, 1000, "en"))


def test_text_survives_what_stands_beside_it() -> None:
    image = {"type": "image", "data": "x" * 500}
    blocks = [image, {"type": "text", "text": "a" * 700}, image, {"type": "image", "data": "small"}]
    cut_result = decode(shortened(encode({"content": blocks}), 1000, "en"))
    assert cut_result["content"] == [blocks[1], blocks[3]]
    (left,) = decode(shortened(encode({"content": [image, *blocks]}), 500, "en"))["content"]
    assert left["text"].endswith("a" + NOTES["en"])


@given(st.lists(st.text(max_size=300), min_size=1, max_size=9), st.integers(300, 1500), st.booleans())
def test_no_more_bytes_than_are_allowed(words: list[str], limit: int, structured: bool) -> None:
    raw = result(*words, **({"structuredContent": {"x": words}} if structured else {}))
    made = shortened(raw, limit, "zh")
    assert len(made) <= limit
    assert made is raw or len(raw) > limit


def test_a_result_without_text_stays() -> None:
    raw = encode({"content": [{"type": "image", "data": "x" * 5000}]})
    assert shortened(raw, 1000, "en") is raw


@given(st.text(min_size=1), st.integers(1024, 4096), st.integers(1, 400))
def test_a_cut_result_fits_and_is_text(text: str, limit: int, times: int) -> None:
    raw = result(text * times)
    made = shortened(raw, limit, "zh")
    assert len(made) <= max(limit, 0) or len(raw) <= limit
    (left,) = texts(made)
    assert left == text * times or (text * times).startswith(left.removesuffix(NOTES["zh"]))


@given(st.text(), st.integers(0, 100))
def test_the_note_is_always_there(text: str, room: int) -> None:
    assert cut(text, room, NOTES["en"]).endswith(NOTES["en"])
