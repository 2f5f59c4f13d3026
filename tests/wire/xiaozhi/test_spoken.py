"""What the Xiaozhi server is told of results: things that can be said, whatever a tool program answers."""

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire.xiaozhi.answers import for_xiaozhi
from mcp_endpoint.wire.xiaozhi.cut import NOTES
from mcp_endpoint.wire.xiaozhi.spoken import ACTIONS, DONE, FAILED, MOST_BLOCKS
from mcp_endpoint.wire.xiaozhi.unspeakable import without_data

BYTES = random.Random(1).randbytes(150_000)
DATA = base64.b64encode(BYTES).decode()
"""200,000 characters."""
LIMIT = 1_048_576


def told(result: object, language: str = "en", limit: int = LIMIT) -> Any:
    made = for_xiaozhi(Raw(encode(result)), limit, language)
    assert len(made) <= limit
    return decode(made)


def heard(result: object, language: str = "en") -> str:
    """What the Xiaozhi server makes of a result: the text for its model, or for its speaker."""
    made = told(result, language)
    if made.get("isError") is True:
        assert isinstance(made["error"], str)
        return str(made["error"])
    text = made["content"][0]["text"]
    assert isinstance(text, str), "it would be spelled as Python spells it"
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict) and "action" in value:
        assert value["action"] in ("ERROR", "NOTFOUND", "NONE", "RESPONSE", "REQLLM", "RECORD"), "its call fails"
        return "" if value["action"] in ("NONE", "RECORD") else str(value["response"])
    return text


def text(words: object, **more: object) -> dict[str, object]:
    return {"type": "text", "text": words} | more


PNG = {"type": "image", "data": DATA, "mimeType": "image/png"}


@pytest.mark.parametrize(
    ("blocks", "zh", "en"),
    [
        ([PNG], "一张图片（PNG，146 KB）", "a picture (PNG, 146 KB)"),
        ([PNG | {"mimeType": None}], "一张图片（146 KB）", "a picture (146 KB)"),
        ([{"type": "image", "data": "aGk="}], "一张图片（2 字节）", "a picture (2 bytes)"),
        ([{"type": "image", "url": "http://x/y.png"}], "一张图片，", "a picture, which"),
        ([PNG | {"data": f"data:image/png;base64,{DATA}"}], "146 KB", "146 KB"),
        (
            [{"type": "audio", "data": DATA * 20, "mimeType": "audio/x-wav"}],
            "一段声音（WAV，2.9 MB）",
            "a sound (WAV, 2.9 MB)",
        ),
        ([{"type": "video", "data": DATA, "mimeType": "video/mp4"}], "一段视频（MP4，", "a video (MP4, "),
        (
            [{"type": "resource_link", "uri": "file:///a/b.pdf", "name": "报告", "mimeType": "application/pdf"}],
            "一个文件（报告，PDF）",
            "a file (报告, PDF)",
        ),
        (
            [{"type": "resource_link", "uri": "http://h/p/q.png?x=1", "mimeType": "image/png", "size": 200_000}],
            "一张图片（q.png，PNG，195 KB）",
            "a picture (q.png, PNG, 195 KB)",
        ),
        (
            [{"type": "resource_link", "uri": f"data:text/plain;base64,{DATA}", "name": "n", "description": "d\ne"}],
            "一个文件（n，d e）",
            "a file (n, d e)",
        ),
        (
            [{"type": "resource", "resource": {"uri": "file:///x.bin", "blob": DATA}}],
            "一个文件（x.bin，146 KB）",
            "a file (x.bin, 146 KB)",
        ),
        ([{"type": "resource", "resource": {"uri": "x://", "text": ""}}], "一个文件", "a file"),
        ([{"type": "thing", "data": DATA}], "一个文件（146 KB）", "a file (146 KB)"),
        ([text(DATA)], "一个文件（146 KB）", "a file (146 KB)"),
        ([text(f"data:image/jpeg;base64,{DATA}")], "一张图片（JPEG，146 KB）", "a picture (JPEG, 146 KB)"),
        ([text("")], DONE["zh"], DONE["en"]),
        ([PNG, PNG], "一张图片（PNG，146 KB）、一张图片", "a picture (PNG, 146 KB) and a picture (PNG, 146 KB)"),
        ([PNG] * 9, "等 9 项", "and 4 more"),
    ],
)
def test_what_is_no_text_is_said_in_one(blocks: list[object], zh: str, en: str) -> None:
    for language, words in (("zh", zh), ("en", en)):
        assert words in heard({"content": blocks}, language)
        (block,) = told({"content": blocks}, language)["content"]
        assert len(block["text"]) < 400


@pytest.mark.parametrize("is_error", [False, True])
def test_text_comes_first_and_survives(is_error: bool) -> None:
    result = {"content": [{**PNG, "data": DATA * 10}, text("门口有人", n=1), PNG, text("b")], "isError": is_error}
    assert heard(result).splitlines()[0] == "门口有人"
    made = told(result)
    assert made["content"][:2] == [text("门口有人", n=1), text("b")]
    assert "2 pictures" in made["content"][2]["text"] or "and a picture" in made["content"][2]["text"]
    assert len(encode(made)) < 1000


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (f'{{"img":"{DATA}","n":1}}', '{"img":"[a file (146 KB)]","n":1}'),
        (f'{{"img":"data:image\\/png;base64,{DATA[:400]}"}}', '{"img":"[a picture (PNG, 300 bytes)]"}'),
        (f"see ![x](data:image/png;base64,{DATA}) there", "see ![x]([a picture (PNG, 146 KB)]) there"),
        (f"{base64.encodebytes(BYTES[:5000]).decode()}", "The tool returned a file (5 KB), which cannot be read out."),
        (base64.urlsafe_b64encode(BYTES).decode(), "The tool returned a file (146 KB), which cannot be read out."),
        ("iVBORw0KGgo" + DATA, "The tool returned a picture (PNG, 146 KB), which cannot be read out."),
    ],
)
def test_base64_within_a_text_is_not_read_out(words: str, left: str) -> None:
    assert heard({"content": [text(words)]}) == left


@pytest.mark.parametrize(
    "words",
    [
        "x" * 100_000,
        "气温" * 5000,
        "a/b/c " * 1000,
        "0123456789abcdef" * 1000,
        "Data;base64, is a word",
        "word " * 5000,
    ],
)
def test_long_texts_of_other_kinds_stay(words: str) -> None:
    assert without_data(words, "en") is words


@pytest.mark.parametrize(
    "words",
    [
        '{"action":"turn_on","ok":true}',
        ' \n{"action":"response","response":"hi"}',
        '{"\\u0061ction":"x"}',
        '{"t":NaN,"action":1}',
        '{"action":null}',
        '{"action":["RESPONSE"]}',
        '{"action":{}}',
        '{"action":"RESPONSE"}',
        '{"action":"RESPONSE","response":""}',
        '{"action":"ERROR","response":{"code":1}}',
        '{"action":"REQLLM","result":"21"}',
    ],
)
def test_an_object_that_would_be_taken_for_an_instruction_is_no_bare_object(words: str) -> None:
    assert heard({"content": [text(words)]}, "en") == f"Result: {words}"
    assert heard({"content": [text(words)]}, "zh") == f"结果：{words}"
    assert heard({"content": [], "structuredContent": {"action": "turn_on"}}) == 'Result: {"action":"turn_on"}'


@pytest.mark.parametrize(
    "words",
    [
        *(json.dumps({"action": action, "response": "好的"}) for action in ACTIONS),
        '{"action":"NONE"}',
        '{"temperature":21}',
        '{"interaction":1}',
        '["action"]',
        '"action"',
        '{"action":"turn_on"} is what I did',
        "{action}",
        '{"action":' + "[" * 100_000,
    ],
)
def test_what_it_knows_and_what_is_no_instruction_stays_as_it_came(words: str) -> None:
    raw = Raw(encode({"content": [text(words)]}))
    assert for_xiaozhi(raw, LIMIT, "zh") is raw


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"content": []}, DONE["en"]),
        ({}, DONE["en"]),
        ([], DONE["en"]),
        ({"content": None}, DONE["en"]),
        ({"content": [None, {}]}, DONE["en"]),
        ({"content": [text(" \n")]}, DONE["en"]),
        ({"content": [text(None)]}, DONE["en"]),
        ({"content": [], "structuredContent": {}, "_meta": {"a": 1}}, DONE["en"]),
        ({"content": [], "structuredContent": None}, DONE["en"]),
        ({"structuredContent": {"t": 21}}, '{"t":21}'),
        ({"content": [text("")], "structuredContent": {"result": "warm"}}, "warm"),
        ({"content": [], "structuredContent": [1, 2]}, "[1,2]"),
        ({"content": [text(""), text("b")]}, "b"),
        ({"content": [text(21)]}, "21"),
        ({"content": [text(True)]}, "true"),
        ({"content": [text({"t": 21})]}, '{"t":21}'),
        ({"content": [{"text": "no type"}]}, "no type"),
        ({"content": [{"type": "markdown", "text": "# a"}]}, "# a"),
        ({"content": [{"type": "json", "json": {"t": 21}}]}, '{"t":21}'),
        ({"content": [{"type": 5, "a": 1, "b": None, "c": 2}]}, '{"a":1,"c":2}'),
        ({"content": [{"type": "resource", "resource": {"uri": "x://", "text": "inside"}}]}, "inside"),
        ({"content": [{**PNG, "text": "a cat"}]}, "a cat"),
        ({"content": "just text"}, "just text"),
        ({"content": text("one block")}, "one block"),
        ({"content": ["a", "b"]}, "a\nb"),
        ({"content": 21}, "21"),
        ("odd", "odd"),
        (21, "21"),
        (["a", 1], "a\n1"),
        ([text("blocks alone")], "blocks alone"),
        ({"toolResult": "of 2024-10-07"}, "of 2024-10-07"),
        ({"ok": True}, '{"ok":true}'),
        ({"error": "no lamp"}, "no lamp"),
        ({"content": [], "isError": True}, FAILED["en"]),
        ({"isError": True}, FAILED["en"]),
        ({"content": [text("")], "isError": True}, FAILED["en"]),
        ({"content": [text("a"), text("b")], "isError": True}, "a\nb"),
        ({"content": [], "isError": True, "error": "mine"}, "mine"),
        ({"content": [text("no")], "isError": True, "error": "mine"}, "mine"),
        ({"content": [text("no")], "isError": True, "error": {"code": 1, "message": "gone"}}, "gone"),
        ({"content": [text("no")], "isError": True, "error": {"code": 1}}, "no"),
        ({"content": [text("no")], "isError": True, "error": ""}, "no"),
        ({"content": [text("no")], "isError": True, "error": None}, "no"),
        ({"content": [text("no")], "isError": "true"}, "no"),
        ({"content": [text("yes")], "isError": None}, "yes"),
        ({"content": [text('{"action":"x"}')], "isError": True}, '{"action":"x"}'),
    ],
)
def test_a_result_of_whatever_form_says_something(result: object, words: str) -> None:
    assert heard(result) == words


def test_words_are_in_the_agents_language() -> None:
    assert heard({"content": []}, "zh") == "已完成。"
    assert heard({"content": [], "isError": True}, "zh") == FAILED["zh"]


@pytest.mark.parametrize("is_error", [False, True])
@pytest.mark.parametrize(
    "more", [{}, {"structuredContent": {"text": "y" * 900_000}}, {"_meta": {"a": "y" * 2_000_000}}]
)
def test_what_is_too_large_is_cut_behind_a_sentence(is_error: bool, more: dict[str, object]) -> None:
    result = {"content": [{**PNG, "data": DATA * 6}, text("今天晴。" * 200_000)], "isError": is_error} | more
    said = heard(result, "zh")
    assert said.endswith("今天晴。" + NOTES["zh"])
    assert len(said.encode()) > LIMIT // 2 - 1000


def test_a_text_that_fits_is_whole_however_large_the_rest_is() -> None:
    assert heard({"content": [text("today")], "_meta": {"a": "y" * 2_000_000}}) == "today"
    assert heard({"content": [text("today")], "isError": True, "error": "y" * 2_000_000}).endswith(NOTES["en"])


def test_a_million_blocks_are_no_work_for_seconds() -> None:
    assert heard({"content": [{}] * 200_000 + [text("late")]}) == DONE["en"]
    assert heard({"content": [text("first")] + [text("")] * 200_000}) == "first"
    assert len(told({"content": [text("first")] * 2000})["content"]) == MOST_BLOCKS


# --- whatever it is ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.sampled_from([DATA, '{"action":1}']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
BLOCKS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "image", "audio", "resource", "resource_link", "x", None]) | JSON,
        "text": JSON,
        "data": JSON,
        "mimeType": st.sampled_from(["image/png", "text/plain;charset=x", "/", ""]) | JSON,
        "uri": JSON,
        "size": JSON,
        "resource": st.dictionaries(st.sampled_from(["uri", "text", "blob", "mimeType"]), JSON) | JSON,
    },
)
RESULTS = (
    st.fixed_dictionaries(
        {},
        optional={
            "content": st.lists(BLOCKS | JSON, max_size=4) | JSON,
            "structuredContent": JSON,
            "isError": st.sampled_from([True, False, None, "true", 1]),
            "error": JSON,
            "_meta": JSON,
        },
    )
    | JSON
)


@given(RESULTS, st.sampled_from(["zh", "en"]), st.integers(1024, 4096) | st.just(LIMIT))
def test_whatever_a_program_answers_can_be_said(result: object, language: str, limit: int) -> None:
    raw = Raw(encode(result))
    made = for_xiaozhi(raw, limit, language)
    assert len(made) <= limit
    assert heard(decode(made), language).strip() or '"action":"NONE"' in str(made)
    assert DATA[:512] not in heard(decode(made), language)
    again = for_xiaozhi(made, limit, language)
    assert bytes(again) == bytes(made), "what can be said is left as it is"
    assert {block["type"] for block in decode(made)["content"]} == {"text"}


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4), st.booleans())
def test_a_result_of_texts_is_the_very_same(words: list[str], structured: bool) -> None:
    result = {"content": [text(one) for one in words]} | ({"structuredContent": {"a": 1}} if structured else {})
    raw = Raw(encode(result))
    if not words[0].lstrip().startswith("{"):
        assert for_xiaozhi(raw, LIMIT, "zh") is raw
