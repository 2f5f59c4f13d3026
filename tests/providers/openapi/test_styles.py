"""Parameters in the styles of OpenAPI, by the examples of its specification's table of styles."""

from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.providers.arguments.errors import BadArguments
from mcp_endpoint.providers.openapi.operations.operation import Parameter
from mcp_endpoint.providers.openapi.requests.styles import in_header, in_path, in_query

LIST = ["blue", "black", "brown"]
OBJECT = {"R": 100, "G": 200, "B": 150}


def parameter(where: str, style: str, explode: bool = False, **more: Any) -> Parameter:
    return Parameter("color", "color", where, style, explode, **more)


@pytest.mark.parametrize(
    ("style", "explode", "value", "text"),
    [
        ("simple", False, "blue", "blue"),
        ("simple", False, LIST, "blue,black,brown"),
        ("simple", True, LIST, "blue,black,brown"),
        ("simple", False, OBJECT, "R,100,G,200,B,150"),
        ("simple", True, OBJECT, "R=100,G=200,B=150"),
        ("label", False, "blue", ".blue"),
        ("label", True, LIST, ".blue.black.brown"),
        ("label", False, LIST, ".blue,black,brown"),
        ("label", False, OBJECT, ".R,100,G,200,B,150"),
        ("label", True, OBJECT, ".R=100.G=200.B=150"),
        ("matrix", False, "blue", ";color=blue"),
        ("matrix", False, LIST, ";color=blue,black,brown"),
        ("matrix", True, LIST, ";color=blue;color=black;color=brown"),
        ("matrix", False, OBJECT, ";color=R,100,G,200,B,150"),
        ("matrix", True, OBJECT, ";R=100;G=200;B=150"),
        ("simple", False, "a/b?c#d%2e 中", "a%2Fb%3Fc%23d%252e%20%E4%B8%AD"),
        ("simple", False, True, "true"),
        ("simple", False, 1.5, "1.5"),
    ],
)
def test_in_the_path(style: str, explode: bool, value: Any, text: str) -> None:
    assert in_path(parameter("path", style, explode), value) == text


@pytest.mark.parametrize("value", ["", ".", "..", [], {}, None])
def test_what_would_be_another_path_is_refused(value: Any) -> None:
    with pytest.raises(BadArguments, match="color"):
        in_path(parameter("path", "simple"), value)


@pytest.mark.parametrize(
    ("style", "explode", "value", "parts"),
    [
        ("form", True, "blue", ["color=blue"]),
        ("form", True, LIST, ["color=blue", "color=black", "color=brown"]),
        ("form", False, LIST, ["color=blue,black,brown"]),
        ("form", False, OBJECT, ["color=R,100,G,200,B,150"]),
        ("form", True, OBJECT, ["R=100", "G=200", "B=150"]),
        ("spaceDelimited", False, LIST, ["color=blue%20black%20brown"]),
        ("spaceDelimited", False, OBJECT, ["color=R%20100%20G%20200%20B%20150"]),
        ("pipeDelimited", False, LIST, ["color=blue%7Cblack%7Cbrown"]),
        ("pipeDelimited", True, LIST, ["color=blue", "color=black", "color=brown"]),
        ("deepObject", True, OBJECT, ["color%5BR%5D=100", "color%5BG%5D=200", "color%5BB%5D=150"]),
        (
            "deepObject",
            True,
            {"a": {"b": 1}, "c": [1, 2]},
            ["color%5Ba%5D%5Bb%5D=1", "color%5Bc%5D%5B%5D=1", "color%5Bc%5D%5B%5D=2"],
        ),
        ("form", False, ["a,b", "c&d"], ["color=a%2Cb,c%26d"]),
        ("form", True, [], []),
        ("form", True, {}, []),
        ("form", False, "", ["color="]),
        ("form", False, None, []),
        ("form", True, ["a", None, "b"], ["color=a", "color=b"]),
        ("form", False, ["a", None, "b"], ["color=a,b"]),
        ("form", True, {"a": None, "b": 1}, ["b=1"]),
        ("form", False, {"a": None, "b": 1}, ["color=b,1"]),
        ("form", False, [None], []),
        ("deepObject", True, {"a": None, "b": {"c": None, "d": 1}}, ["color%5Bb%5D%5Bd%5D=1"]),
        ("form", True, False, ["color=false"]),
    ],
)
def test_in_the_query(style: str, explode: bool, value: Any, parts: list[str]) -> None:
    assert in_query(parameter("query", style, explode), value) == parts


def test_json_and_reserved_characters() -> None:
    assert in_query(parameter("query", "form", json=True), {"a": [1]}) == ["color=%7B%22a%22%3A%20%5B1%5D%7D"]
    assert in_path(parameter("path", "simple", json=True), [1]) == "%5B1%5D"
    assert in_header(parameter("header", "simple", json=True), {"a": "中"}) == '{"a": "\\u4e2d"}'
    assert in_query(parameter("query", "form", reserved=True), "a/b&c=d") == ["color=a/b%26c%3Dd"]


def test_in_a_header() -> None:
    simple = parameter("header", "simple")
    assert in_header(simple, LIST) == "blue,black,brown"
    assert in_header(simple, OBJECT) == "R,100,G,200,B,150"
    assert in_header(parameter("header", "simple", True), OBJECT) == "R=100,G=200,B=150"
    assert in_header(simple, 5) == "5"
    for text in ("a\r\nX: y", "a\nb", "\0", "\x7f"):
        with pytest.raises(BadArguments, match="control character"):
            in_header(simple, text)


@given(st.text())
def test_any_text_arrives_as_it_is(text: str) -> None:
    (part,) = in_query(parameter("query", "form"), text)
    assert parse_qsl(part, keep_blank_values=True) == [("color", text)]
    assert part.isascii()
    if text not in ("", ".", ".."):
        piece = in_path(parameter("path", "simple"), text)
        assert unquote(piece) == text
        assert not set(piece) & set("/?#")
