"""OpenAPI documents as tools: what is read and refused, and schemas that stand alone. No server is talked to."""

import contextlib
import copy
import gzip
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mcp_endpoint.providers.arguments.errors import BadArguments
from mcp_endpoint.providers.openapi.document import references as openapi_references
from mcp_endpoint.providers.openapi.document.document import METHODS, Document, read_document
from mcp_endpoint.providers.openapi.document.values import BadDocument
from mcp_endpoint.providers.openapi.operations.operation import Operation
from mcp_endpoint.providers.openapi.operations.operations import Filter, operations
from mcp_endpoint.providers.openapi.operations.schema import LARGEST, stand_alone
from mcp_endpoint.providers.openapi.requests.request import RequestBuilder
from mcp_endpoint.wire.text import clean, slug
from support.paths import OPENAPI_DOCUMENTS

FOLDER = OPENAPI_DOCUMENTS
ALL = Filter(methods=frozenset(METHODS))


def document(paths: Any = None, version: str = "3.1.0", **more: Any) -> Document:
    return read_document(json.dumps({"openapi": version, "paths": paths or {}} | more).encode())


def made(paths: Any, **more: Any) -> dict[str, Operation]:
    result = operations(document(paths, **more), ALL, frozenset())
    assert result.left_out == []
    return {one.name: one for one in result.found}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"openapi: 3.0.0\ninfo: \xff\xfe", "UTF-8.*line 2"),
        (b"\xff\xfea", "UTF-16"),
        (b"\x1f\x8bx", "compressed"),
        (gzip.compress(b" " * 40_000_000, mtime=0), "more than"),
        (b"<!doctype html><title>Swagger UI</title>", "web page"),
        (b'{"openapi": "3.0.0",\n "paths": }', "line 2, column 11"),
        (b"openapi: 3.0.0\npaths: [\n", "line 3"),
        (b"[]", "no object"),
        (b"just words", "no object"),
        (b'{"a": 1}', "no OpenAPI document"),
        (b'{"openapi": "4.0.0"}', "4.0.0"),
        (b'{"openapi": "3.0.0", "paths": []}', "paths"),
        (b"openapi: 3.0.0\npaths: !!python/object/apply:os.system ['true']\n", "line 2"),
        (b"openapi: 3.0.0\npaths: &a\n  /x: *a\n", "nested"),
        (b"{" * 100_000, "nested|neither|line"),
        (b'{"openapi": "3.0.0", "x": ' + b"[" * 200 + b"]" * 200 + b"}", "nested"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, words: str) -> None:
    with pytest.raises(BadDocument, match=words):
        read_document(data)


def test_limits_of_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = b"openapi: 3.0.0\na: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"".join(
        b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (c, c, *[c - 1] * 10)
        for c in range(ord("b"), ord("k"))
    )
    with pytest.raises(BadDocument, match="values"):
        read_document(bomb)
    monkeypatch.setattr(openapi_references, "MOST_BYTES", 10)
    with pytest.raises(BadDocument, match="more than 10 bytes"):
        read_document(b"{" + b" " * 10 + b"}")


def test_yaml_is_read_as_openapi_means_it() -> None:
    text = """
openapi: 3.0.3
x-a: [no, 2026-01-02, 0o7, 010, true, ~, 1.5, 1e3, on, 1_000, 12:30]
paths:
  /a: {get: {responses: {200: {}}}}
"""
    read = read_document(text.encode())
    assert read.content["x-a"] == ["no", "2026-01-02", "0o7", 10, True, None, 1.5, 1000.0, "on", "1_000", "12:30"]
    assert read.content["paths"]["/a"]["get"]["responses"] == {"200": {}}


def test_references_of_a_document_without_a_place_are_followed_within_it_only() -> None:
    components = {"parameters": {"a/b": {"name": "a", "in": "query"}, "loop": {"$ref": "#/components/parameters/loop"}}}
    read = document(components=components)
    assert read.follow({"$ref": "#/components/parameters/a~1b"})["name"] == "a"
    for pointer, words in (
        ("#/components/parameters/none", "nowhere"),
        ("other.yaml#/a", "another document"),
        ("file:///etc/passwd", "another document"),
        ("http://127.0.0.1/x", "another document"),
        ("#/components/parameters/loop", "one to the next"),
    ):
        with pytest.raises(BadDocument, match=words):
            read.follow({"$ref": pointer})


def test_a_bad_operation_is_left_out_and_the_others_are_there() -> None:
    paths = {
        "/good": {"get": {"operationId": "good"}},
        "/bad": {"get": {"parameters": [{"$ref": "#/nowhere"}]}, "post": {"operationId": "fine"}},
        "/gone": {"$ref": "#/nowhere"},
        "/x\x1b[2J": {"put": {"requestBody": {"content": {"application/vnd.odd": {}}}}},
        "no-slash": {"GET": {}},
        "x-note": {"get": {}},
        "/null": None,
    }
    result = operations(document(paths), ALL, frozenset())
    assert [(one.name, one.path) for one in result.found] == [
        ("good", "/good"),
        ("fine", "/bad"),
        ("get_no-slash", "/no-slash"),
    ]
    assert len(result.left_out) == 3
    assert "\x1b" not in "".join(result.left_out)


def test_names_of_tools_are_short_plain_and_unique() -> None:
    paths = {
        "/a/{id}": {"get": {}, "put": {"operationId": "do it/now!"}},
        "/b": {"get": {"operationId": "same"}, "post": {"operationId": "same"}, "put": {"operationId": "用户"}},
        "/" + "x" * 100: {"get": {}},
        "/": {"get": {}, "put": {"operationId": 5}},
    }
    names = list(made(paths))
    assert (names[:2], names[3], names[6:]) == (["get_a_id", "do_it_now"], "put_b", ["get", "5"])
    assert names[2].startswith("same_")
    assert names[4].startswith("same_")
    assert len(names[5]) == 64


@pytest.mark.parametrize("id_", ["same", "获取用户", "获取user", "x" * 200, None])
@pytest.mark.parametrize("others", [["/0"], ["/新"], ["/z"], ["/0", "/订单/{号}", "/a.b"]])
def test_names_stay_when_an_operation_is_added(id_: str | None, others: list[str]) -> None:
    def named(paths: list[str]) -> dict[str, str]:
        item = {"get": {"operationId": id_} if id_ else {}, "delete": {}}
        found = operations(document(dict.fromkeys(paths, item)), Filter(), frozenset()).found
        assert len({one.name for one in found}) == len(found)
        assert all(re.fullmatch("[A-Za-z0-9_-]{1,64}", one.name) for one in found)
        return {one.path: one.name for one in found}

    known = ["/用户", "/用户/{编号}", "/a", "/订单"]
    before = named(known)
    assert before.items() <= named([*others, *known]).items()
    assert before.items() <= named([*known[:2], *others, *known[2:]]).items()


def test_hundreds_of_parameters_are_normal() -> None:
    listed = [
        {
            "name": f"member_{number}__nie",
            "in": "query",
            "description": "d" * 80,
            "schema": {"type": "array", "items": {"type": "string"}},
        }
        for number in range(600)
    ]
    (one,) = made({"/devices": {"get": {"parameters": listed}}}).values()
    assert len(one.schema["properties"]) == 600
    assert len(json.dumps(one.schema)) <= LARGEST
    assert RequestBuilder(one).build({"member_599__nie": ["a"]}).path == "/devices?member_599__nie=a"


FRAMING = [
    *("Content-Length", "content-length ", "Host", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer"),
    *("Upgrade", "Expect", "Proxy-Authorization", "Proxy-Connection", "Content-Encoding", "Accept-Encoding"),
    *("Accept", "CONTENT-TYPE", "Authorization", "X-HTTP-Method-Override", "Not a name", "名"),
]


@pytest.mark.parametrize("version", ["3.1.0", "2.0"])
def test_headers_that_frame_a_request_are_never_arguments(version: str) -> None:
    listed: list[dict[str, Any]] = [{"name": name, "in": "header", "type": "string"} for name in FRAMING]
    listed += [{"name": "Content-Length", "in": "header", "required": True}]
    listed += [{"name": "X-Mine", "in": "header"}, {"name": "x-mine", "in": "Header"}, {"name": "gone", "in": "path"}]
    content = {"swagger" if version == "2.0" else "openapi": version, "paths": {"/a": {"get": {"parameters": listed}}}}
    (one,) = operations(read_document(json.dumps(content).encode()), ALL, frozenset()).found
    assert list(one.schema["properties"]) == ["x-mine"]
    assert "required" not in one.schema
    prepared = RequestBuilder(one).build({"x-mine": "1", "Content-Length": "5", "Host": "a"})
    assert dict(prepared.headers) == {"x-mine": "1"}


def test_forms_are_written_as_their_encoding_says() -> None:
    encoding = {
        "deep": {"style": "deepObject", "explode": True},
        "list": {"style": "deepObject", "explode": True},
        "form": {"explode": True},
        "flat": {"style": "form", "explode": False},
        "pipes": {"style": "pipeDelimited"},
        "free": {"allowReserved": True},
        "odd": 5,
    }
    schema = {"type": "object"}
    body = {"content": {"application/x-www-form-urlencoded": {"schema": schema, "encoding": encoding}}}
    (one,) = made({"/a": {"post": {"requestBody": body}}}).values()
    values = {
        "deep": {"a": 1, "b": {"c d": True}, "l": ["x", "y"], "o": [{"p": 1}]},
        "list": ["x"],
        "form": {"k": "v", "n": 2},
        "flat": ["a", "b,c"],
        "pipes": ["a", "b"],
        "free": "a/b&c",
        "odd": {"j": 1},
        "plain": [1, 2],
    }
    sent = RequestBuilder(one).build({"body": values}).content or b""
    assert unquote_plus(sent.decode().replace("%26", "AND").replace("%2C", "COMMA")).split("&") == [
        *("deep[a]=1", "deep[b][c d]=true", "deep[l][]=x", "deep[l][]=y", "deep[o][0][p]=1", "list[]=x"),
        *("k=v", "n=2", "flat=a,bCOMMAc", "pipes=a|b", "free=a/bANDc", 'odd={"j": 1}', "plain=1", "plain=2"),
    ]


def test_parameters_of_content_and_those_that_may_be_empty() -> None:
    listed = [
        {"name": "text", "in": "query", "content": {"text/plain": {"schema": {"type": "string"}}}},
        {"name": "json", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}},
        {"name": "flag", "in": "query", "allowEmptyValue": True, "schema": {"type": "boolean"}},
        {"name": "Cookie", "in": "header", "schema": {"type": "string"}},
        {"name": "c", "in": "cookie", "schema": {"type": "string"}},
    ]
    (one,) = made({"/a": {"get": {"parameters": listed}}}).values()
    prepared = RequestBuilder(one).build({"text": "a", "json": {"b": 1}, "flag": "", "Cookie": "x=y", "c": "z"})
    assert prepared.path == "/a?text=a&json=%7B%22b%22%3A%201%7D&flag="
    assert (prepared.cookies, prepared.headers) == (("x=y", "c=z"), {})


def test_descriptions_of_third_parties_are_cleaned_and_cut() -> None:
    told = "Hello\x1b[31m\u202e  world\r\n" + "word " * 1000
    (one,) = made({"/a": {"get": {"summary": "A\0B", "description": told}}}).values()
    definition = one.definition()
    assert definition["title"] == "AB"
    shown = str(definition["description"])
    assert shown.startswith("AB\n\nHello[31m world\nword")
    assert shown.endswith("…")
    assert len(shown) <= 1200
    assert clean("a" * 50, 10) == "a" * 9 + "…"
    assert slug("中文") == ""


def test_parameters_of_one_name_and_those_that_are_none() -> None:
    paths = {
        "/a/{id}/{free}": {
            "parameters": [{"name": "id", "in": "path", "schema": {"type": "string"}}, {"name": "q", "in": "query"}],
            "get": {
                "parameters": [
                    {"name": "id", "in": "path", "schema": {"type": "integer"}},
                    {"name": "id", "in": "query", "required": True},
                    {"name": "body", "in": "query"},
                    {
                        "name": "filter[x]",
                        "in": "query",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    },
                    {"name": "Accept", "in": "header"},
                    {"name": "odd", "in": "nowhere"},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
            },
        }
    }
    (one,) = made(paths).values()
    assert set(one.schema["properties"]) == {"id", "q", "id_query", "body_query", "filter_x", "free", "body"}
    assert one.schema["properties"]["id"] == {"type": "integer"}
    assert sorted(one.schema["required"]) == ["free", "id", "id_query"]
    given = {"id": 1, "free": "f g", "id_query": "2", "body_query": 3, "filter_x": {"a": 1}, "body": {"b": 1}}
    prepared = RequestBuilder(one).build(given)
    assert prepared.path == "/a/1/f%20g?id=2&body=3&filter%5Bx%5D=%7B%22a%22%3A%201%7D"
    assert prepared.content == b'{"b": 1}'


def test_a_path_with_a_query_or_a_fragment_of_its_own() -> None:
    paths = {"/a?action=x#b": {"get": {"parameters": [{"name": "q", "in": "query"}]}}}
    (one,) = made(paths).values()
    assert RequestBuilder(one).build({"q": 1}).path == "/a?action=x&q=1"


def test_schemas_of_version_3_0_become_those_of_2020_12() -> None:
    schema = {
        "type": "object",
        "nullable": True,
        "required": ["a", "hidden", "b"],
        "properties": {
            "a": {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "nullable": True, "example": 5},
            "b": {"allOf": [{"$ref": "#/components/schemas/Node"}], "nullable": True, "description": "one"},
            "c": {"type": "string", "enum": ["x"], "nullable": True, "xml": {"name": "c"}},
            "d": {"type": "string", "format": "binary"},
            "hidden": {"type": "string", "readOnly": True},
            "e": {"properties": {"x": {"items": {"enum": [1]}}}, "nullable": True},
            "type": {"type": "string", "x-odd": 1},
            "odd": {"type": "no type", "minLength": "3", "pattern": 5, "required": True, "enum": [], "items": 5},
        },
        "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "number"}]},
        "discriminator": {"propertyName": "type"},
    }
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}}}
    converted = stand_alone(document(components={"schemas": {"Node": node}}), schema)
    Draft202012Validator.check_schema(converted)
    assert converted["type"] == ["object", "null"]
    assert converted["required"] == ["a", "b"]
    properties = converted["properties"]
    assert properties["a"] == {"type": ["integer", "null"], "exclusiveMinimum": 1}
    assert properties["b"] == {"description": "one", "anyOf": [{"allOf": [{"$ref": "#/$defs/Node"}]}, {"type": "null"}]}
    assert properties["c"]["enum"] == ["x", None]
    assert properties["d"] == {"type": "string", "contentEncoding": "base64"}
    assert properties["odd"] == {}
    assert properties["e"] == {
        "type": ["object", "null"],
        "properties": {"x": {"type": "array", "items": {"enum": [1]}}},
    }
    assert "hidden" not in properties
    assert converted["$defs"]["Node"]["properties"]["next"] == {"$ref": "#/$defs/Node"}
    validator = Draft202012Validator(converted)
    assert validator.is_valid({"a": 2, "b": {"next": {"next": {}}}})
    assert not validator.is_valid({"a": 1, "b": None})


def test_a_schema_that_is_too_large_loses_what_is_farthest() -> None:
    schemas = {
        f"S{number}": {
            "type": "object",
            "properties": {
                "next": {"$ref": f"#/components/schemas/S{number + 1}"},
                **{name: {"description": "d" * 400} for name in "abcd"},
            },
        }
        for number in range(400)
    } | {"S400": {"type": "string"}}
    converted = stand_alone(document(components={"schemas": schemas}), {"$ref": "#/components/schemas/S0"})
    Draft202012Validator.check_schema(converted)
    assert len(json.dumps(converted)) <= LARGEST
    assert len(converted["$defs"]) == 6
    with pytest.raises(BadDocument, match="bytes"):
        stand_alone(document(), {"type": "string", "enum": ["x" * LARGEST]})


@pytest.mark.timeout(60)  # or for ever
def test_a_pattern_of_a_third_party_is_not_searched_with() -> None:
    paths = {
        "/a": {"get": {"parameters": [{"name": "q", "in": "query", "schema": {"type": "string", "pattern": "(a+)+$"}}]}}
    }
    (one,) = made(paths).values()
    assert RequestBuilder(one).build({"q": "a" * 60 + "!"}).path.startswith("/a?q=aaa")


def test_a_large_public_document_becomes_tools_that_are_valid() -> None:
    data = gzip.decompress((FOLDER / "github.json.gz").read_bytes())
    result = operations(read_document(data), ALL, frozenset())
    assert result.left_out == []
    assert len(result.found) == 1223
    assert len({one.name for one in result.found}) == 1223
    for one in result.found:
        assert len(one.name) <= 64
        assert len(json.dumps(one.definition())) < LARGEST + 5000
        Draft202012Validator.check_schema(one.schema)
    assert len(operations(read_document(data), Filter(), frozenset()).found) < 1223


def test_version_2_is_converted() -> None:
    old = {
        "swagger": "2.0",
        "host": "api.example.com",
        "basePath": "/v1",
        "schemes": ["http", "https"],
        "consumes": ["application/xml", "application/json"],
        "parameters": {
            "Page": {"name": "page", "in": "query", "type": "integer", "default": 1},
            "Thing": {"name": "thing", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Thing"}},
        },
        "definitions": {"Thing": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "securityDefinitions": {"b": {"type": "basic"}},
        "paths": {
            "/t/{id}": {
                "parameters": [{"name": "id", "in": "path", "required": True, "type": "string"}],
                "get": {
                    "operationId": "list",
                    "parameters": [
                        {"$ref": "#/parameters/Page"},
                        {"name": "csv", "in": "query", "type": "array", "items": {"type": "string"}},
                        {"name": "ssv", "in": "query", "type": "array", "items": {}, "collectionFormat": "ssv"},
                        {"name": "pipes", "in": "query", "type": "array", "items": {}, "collectionFormat": "pipes"},
                        {"name": "multi", "in": "query", "type": "array", "items": {}, "collectionFormat": "multi"},
                    ],
                },
                "put": {"operationId": "put", "parameters": [{"$ref": "#/parameters/Thing"}]},
                "post": {
                    "operationId": "form",
                    "consumes": ["application/x-www-form-urlencoded"],
                    "parameters": [{"name": "a", "in": "formData", "type": "string", "required": True}],
                },
                "patch": {"operationId": "file", "parameters": [{"name": "f", "in": "formData", "type": "file"}]},
            }
        },
    }
    read = read_document(json.dumps(old).encode())
    assert read.content["servers"] == [{"url": "https://api.example.com/v1"}]
    assert read.content["components"]["securitySchemes"] == {"b": {"type": "http", "scheme": "basic"}}
    found = {one.name: one for one in operations(read, ALL, frozenset()).found}
    lists = {name: ["x", "y"] for name in ("csv", "ssv", "pipes", "multi")}
    prepared = RequestBuilder(found["list"]).build({"id": "1", "page": 2, **lists})
    assert prepared.path == "/t/1?page=2&csv=x,y&ssv=x%20y&pipes=x%7Cy&multi=x&multi=y"
    assert RequestBuilder(found["put"]).build({"id": "1", "body": {"a": "b"}}).content == b'{"a": "b"}'
    assert RequestBuilder(found["form"]).build({"id": "1", "body": {"a": "b c"}}).content == b"a=b+c"
    assert RequestBuilder(found["file"]).build({"id": "1", "body": {"f": "MQ=="}}).parts == (
        ("f", ("f", b"1", "application/octet-stream")),
    )


ODD: tuple[Any, ...] = (
    *(None, True, 5, -1.5, 1e400, "x", "#/components/schemas/Pet", [], [1], ["a"], {}, {"$ref": "#/paths"}),
    *({"$ref": 5}, {"type": ["string", 5]}, {"properties": []}, {"a": {"b": 1}}),
)


def places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a document."""
    if above:
        yield above
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*above, key))


def put(node: Any, place: tuple[Any, ...], value: Any) -> None:
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = copy.deepcopy(value)  # later values may be put into it


PETSTORES = [(FOLDER / name).read_bytes() for name in ("petstore-2.0.json", "petstore-3.1.json")]
PLACES = [list(places(json.loads(data))) for data in PETSTORES]


@settings(max_examples=400)
@given(st.data())
def test_a_document_with_odd_values_makes_valid_tools_or_says_why_not(data: st.DataObject) -> None:
    which = data.draw(st.integers(0, 1))
    content = json.loads(PETSTORES[which])
    for _ in range(data.draw(st.integers(1, 3))):
        with contextlib.suppress(LookupError, TypeError):
            put(content, data.draw(st.sampled_from(PLACES[which])), data.draw(st.sampled_from(ODD)))
    try:
        result = operations(read_document(json.dumps(content).encode()), ALL, frozenset())
    except BadDocument:
        return
    for one in result.found:
        json.dumps(one.definition(), allow_nan=False)
        with contextlib.suppress(BadArguments):
            RequestBuilder(one).build({"petId": 1, "body": {"file": "MQ==", "name": "x"}})
    for one in result.found[:3]:
        Draft202012Validator.check_schema(one.schema)
