"""Arguments as they were meant: by habit of models, by schema, and what never happens to any of them."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Raw

from mcp_endpoint.providers.arguments.errors import BadArguments
from mcp_endpoint.providers.arguments.meanings import arguments_of, structure
from mcp_endpoint.providers.arguments.reader import Reader
from mcp_endpoint.providers.jobs.job_tools import number_in

DEFINITIONS = {
    "Int": {"type": "integer"},
    "Todo": {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "count": {"$ref": "#/$defs/Int"},
            "done": {"type": "boolean"},
            "next": {"anyOf": [{"$ref": "#/$defs/Todo"}, {"type": "null"}]},
        },
        "required": ["title"],
        "additionalProperties": False,
    },
}
INT: dict[str, Any] = {"type": "integer"}
INT_OR_NULL = {"anyOf": [INT, {"type": "null"}]}
TEXTS = {"type": "array", "items": {"type": "string"}}
INTS = {"type": "array", "items": INT}
STATUS = {"type": "string", "enum": ["open", "in_progress"]}
TODO = {"$ref": "#/$defs/Todo"}
MAYBE_STATUS = {"type": ["string", "null"], "enum": ["open", None]}
KINDS = {
    "oneOf": [
        {"type": "object", "properties": {"k": {"const": "a"}, "x": INT}, "required": ["k"]},
        {"type": "object", "properties": {"k": {"const": "b"}, "x": {"type": "string"}}, "required": ["k"]},
    ]
}


def schema(of: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"x": of},
        "additionalProperties": False,
        "$defs": DEFINITIONS,
        **({"required": ["x"]} if required else {}),
    }


def read(of: dict[str, Any], value: Any, *, required: bool = False) -> Any:
    """What is read of one argument; the text `nothing` where it is left out."""
    return Reader(schema(of, required=required)).read({"x": value}, unexpected).get("x", "nothing")


def unexpected(name: str) -> None:
    raise AssertionError(f"{name} is declared")


ABSENT: list[tuple[dict[str, Any], Any]] = [
    *((INT, value) for value in ("", " ", None, "null", "None", "undefined", "N/A", '""', "[]", "{}", [], {})),
    (STATUS, ""),
    (STATUS, "none"),
    (INT_OR_NULL, ""),
    ({"type": "boolean"}, ""),
    ({"type": "string"}, None),
    ({"type": "string", "minLength": 1}, ""),
    ({"type": "string", "format": "date-time"}, ""),
    ({"type": "string", "format": "uuid"}, "null"),
    ({"type": "string", "pattern": "^[0-9]+$"}, ""),
    ({"$ref": "#/$defs/Int"}, None),
    ({"allOf": [INT, {"minimum": 3}]}, ""),
    (TODO, ""),
    (TODO, None),
    (TODO, "null"),
    (TEXTS, ""),
    (TEXTS, None),
    (TEXTS, "null"),
    (TEXTS | {"minItems": 1}, []),
    (TEXTS | {"minItems": 1}, "[]"),
]


@pytest.mark.parametrize(("of", "value"), ABSENT)
def test_nothing_in_any_disguise_is_left_out_unless_it_is_required(of: dict[str, Any], value: Any) -> None:
    assert read(of, value) == "nothing"
    if of in (INT, STATUS, TODO) or value is None:
        with pytest.raises(BadArguments, match="x"):
            read(of, value, required=True)
    inside = {"type": "object", "properties": {"x": of, "y": INT}, "required": ["y"]}
    assert read(inside, {"x": value, "y": 1}) == {"y": 1}
    assert read({"type": "array", "items": inside}, [{"x": value, "y": "1"}]) == [{"y": 1}]


READINGS: list[tuple[dict[str, Any], Any, Any]] = [
    (INT, "5", 5),
    (INT, " 5 ", 5),
    (INT, "5.0", 5),
    (INT, "+5", 5),
    (INT, "1e3", 1000),
    (INT, "12345678901234567890123", 12345678901234567890123),
    (INT, 1e23, 10**23),
    ({"type": "number"}, "1.5", 1.5),
    ({"type": "number"}, "-2", -2),
    ({"type": "boolean"}, "True", True),
    ({"type": "boolean"}, "false", False),
    ({"type": "boolean"}, "yes", True),
    ({"type": "boolean"}, 0, False),
    ({"type": "string"}, 1234567890123456789, "1234567890123456789"),
    ({"type": "string"}, 1.5, "1.5"),
    ({"type": "string"}, True, "true"),
    ({"$ref": "#/$defs/Int"}, "5", 5),
    ({"allOf": [{"$ref": "#/$defs/Int"}, {"minimum": 3}]}, "5", 5),
    (INT_OR_NULL, "5", 5),
    (INT_OR_NULL, "null", None),
    (INT_OR_NULL, "None", None),
    ({"type": ["integer", "null"]}, "5", 5),
    ({"oneOf": [INT, {"type": "boolean"}]}, "true", True),
    ({"oneOf": [INT, {"type": "boolean"}]}, "1", 1),
    (INTS, "[1, 2]", [1, 2]),
    (INTS, "['1', 2.0]", [1, 2]),
    (INTS, ["1", "2"], [1, 2]),
    (INTS, "1, 2", [1, 2]),
    (INTS, "7", [7]),
    (TEXTS, "milk", ["milk"]),
    ({"type": "array", "items": STATUS}, "open,in_progress", ["open", "in_progress"]),
    (TODO, '{"title":"milk"}', {"title": "milk"}),
    (TODO, '```json\n{"title":"milk"}\n```', {"title": "milk"}),
    (TODO, json.dumps('{"title":"milk"}'), {"title": "milk"}),
    (TODO, "{'title': 'it\\'s', 'count': None, 'done': True,}", {"title": "it's", "done": True}),
    (TODO, {"title": 5, "count": "5"}, {"title": "5", "count": 5}),
    (
        TODO,
        {"title": "a", "next": '{"title":"b","next":{"title":"c","count":"1"}}'},
        {"title": "a", "next": {"title": "b", "next": {"title": "c", "count": 1}}},
    ),
    ({"type": "array", "items": TODO}, {"title": "milk"}, [{"title": "milk"}]),
    ({"type": "array", "items": TODO}, '{"title":"milk"}', [{"title": "milk"}]),
    ({"type": "object"}, '{"a":"1"}', {"a": "1"}),
    (STATUS, "Open", "open"),
    (STATUS, "In Progress", "in_progress"),
    (STATUS, "open ", "open"),
    ({"enum": [1, 2]}, "2", 2),
    ({"const": True}, "true", True),
    ({"type": "string", "enum": ["1", "2"]}, 2, "2"),
    (MAYBE_STATUS, "null", None),
    (KINDS, {"k": "a", "x": "5"}, {"k": "a", "x": 5}),
    (KINDS, {"k": "b", "x": 5}, {"k": "b", "x": "5"}),
    (KINDS, '{"k": "A", "x": "5"}', {"k": "a", "x": 5}),
]


@pytest.mark.parametrize(("of", "value", "meant"), READINGS)
def test_what_a_value_was_meant_as(of: dict[str, Any], value: Any, meant: Any) -> None:
    for required in (False, True):
        got = read(of, value, required=required)
        assert (json.dumps(got), type(got)) == (json.dumps(meant), type(meant))
    assert read({"type": "object", "properties": {"in": of}}, {"in": value}) == {"in": meant}


def test_a_whole_number_is_written_as_one() -> None:
    assert json.dumps(read(INT, 5.0)) == "5"
    assert json.dumps(read(TODO, {"title": "a", "count": 7.0})) == '{"title": "a", "count": 7}'
    assert json.dumps(read({"type": "number"}, 5.0)) == "5.0"
    assert json.dumps(read({"type": ["integer", "number"]}, 5.0)) == "5.0"


DOUBTFUL: list[tuple[dict[str, Any], Any]] = [
    (INT, "five"),
    (INT, "5.5"),
    (INT, 5.5),
    (INT, "1,000"),
    (INT, "1e999999"),
    (INT, True),
    (INT, "5 km"),
    (INT | {"minimum": 6}, "5"),
    ({"type": "number"}, "NaN"),
    ({"type": "boolean"}, "maybe"),
    ({"type": "boolean"}, 2),
    ({"type": "string"}, {"a": 1}),
    ({"type": "string"}, ["a"]),
    (STATUS, "closed"),
    ({"enum": ["a-b", "a_b"]}, "A B"),
    (TEXTS, "milk, eggs"),
    (TEXTS, '["milk", "eg'),
    (TODO, '{"title":'),
    (TODO, "{}"),
    (TODO, {}),
    (TODO, {"title": "a", "other": 1}),
    (TODO, {"title": "a", "other": None}),
    (TODO, {"title": ""} | {"title": None}),
    (TODO, "milk"),
    (INTS, [1, None]),
    (INTS, ["", 1]),
    ({"anyOf": [INTS, {"type": "array", "items": {"type": "boolean"}}]}, ["2", "true"]),
]


@pytest.mark.parametrize(("of", "value"), DOUBTFUL)
def test_doubt_is_told_and_about_what_was_sent(of: dict[str, Any], value: Any) -> None:
    with pytest.raises(BadArguments, match=r"^参数有误 / The arguments do not fit: x") as told:
        read(of, value)
    wanted = next(Draft202012Validator(schema(of)).iter_errors({"x": value})).message
    assert wanted[:30] in str(told.value) or "any of the given" in str(told.value)


@pytest.mark.parametrize(
    ("of", "value"),
    [
        ({"type": "string"}, ""),
        ({"type": "string"}, "null"),
        ({"type": "string"}, "5"),
        ({"type": "string"}, '{"a":1}'),
        ({"type": "string", "enum": ["", "a"]}, ""),
        ({"type": "string", "enum": ["None", "a"]}, "None"),
        ({"type": ["integer", "string"]}, "5"),
        (INT_OR_NULL, None),
        (MAYBE_STATUS, None),
        (TEXTS, []),
        ({"type": "object"}, {}),
        ({"type": "object"}, {"a": None, "b": ""}),
        ({}, None),
        ({}, "5"),
    ],
)
def test_what_fits_stays_though_it_looks_like_something_else(of: dict[str, Any], value: Any) -> None:
    assert read(of, value) == value
    assert read(of, value, required=True) == value


def test_a_required_empty_text_is_left_to_the_server_where_only_a_pattern_speaks_against_it() -> None:
    assert read({"type": "string", "pattern": "^[0-9]+$"}, "", required=True) == ""
    assert read({"type": "string", "pattern": "^(a|b)+$"}, "") == ""
    assert read({"type": "string", "pattern": "("}, "") == ""


# --- names ---

PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "user_id": INT},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("sent", "meant", "unknown"),
    [
        ({"city": "Oslo", "toolCallId": "t1"}, {"city": "Oslo"}, ["toolCallId"]),
        ({"city": "Oslo", "a": 1, "b": None}, {"city": "Oslo"}, ["a", "b"]),
        ({"City": "Oslo", "userId": "7"}, {"city": "Oslo", "user_id": 7}, []),
        ({"city": "Oslo", "City": "Rome"}, {"city": "Oslo"}, ["City"]),
        ({"city": "Oslo", "userId": 1, "user-id": 2}, {"city": "Oslo"}, ["userId", "user-id"]),
        ({"input": {"city": "Oslo"}}, {"city": "Oslo"}, []),
    ],
)
def test_members_that_nobody_declared(sent: dict[str, Any], meant: dict[str, Any], unknown: list[str]) -> None:
    told: list[str] = []
    assert Reader(PLACE).read(sent, told.append) == meant
    assert told == unknown


def test_a_complaint_names_what_was_no_argument() -> None:
    with pytest.raises(BadArguments, match=r"'city' is a required property.*no such arguments: town$"):
        Reader(PLACE).read({"town": "Oslo"}, lambda name: None)


def test_a_schema_that_takes_any_member_keeps_them() -> None:
    assert Reader({"type": "object"}).read({"a": None}, unexpected) == {"a": None}


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (None, {}),
        (b"null", {}),
        (b'""', {}),
        (b'" \\n"', {}),
        (b'"null"', {}),
        (b"[]", {}),
        (b"{}", {}),
        (b'{"a":1}', {"a": 1}),
        (b'"{\\"a\\":1}"', {"a": 1}),
        (b'"{}"', {}),
        (b"[1]", None),
        (b'"a"', None),
        (b"5", None),
        (b'"[1]"', None),
    ],
)
def test_arguments_themselves(raw: bytes | None, meant: dict[str, Any] | None) -> None:
    assert arguments_of(None if raw is None else Raw(raw)) == meant


# --- for all values ---

LEAVES = st.sampled_from(
    [
        *({"type": kind} for kind in ("string", "integer", "number", "boolean", "null", "array", "object")),
        *(INT_OR_NULL, STATUS, MAYBE_STATUS, TEXTS, INTS, {"$ref": "#/$defs/Int"}, TODO, KINDS, {}),
        {"type": "string", "minLength": 2},
        INT | {"minimum": 3},
        {"enum": [1, "1", True, None]},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda one: {"type": "array", "items": one}),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"anyOf": several}),
        st.lists(inner, min_size=1, max_size=2).map(lambda several: {"allOf": several}),
        st.builds(
            lambda members, needed, closed: {
                "type": "object",
                "properties": members,
                "required": [name for name in needed if name in members],
                **({"additionalProperties": False} if closed else {}),
            },
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            st.booleans(),
        ),
    ),
    max_leaves=8,
)
SMALL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10),
    st.sampled_from([5.0, 1.5, 1e23]),
    st.sampled_from(
        ["", " ", "null", "None", "5", "5.0", "true", "open", "Open", "1,2", "[1]", '{"title":"a"}', "{'a':'5'}"]
    ),
    st.text(max_size=4),
)
VALUES = st.recursive(
    SMALL,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "c", "title", "count", "k", "x"]), inner, max_size=3),
        st.builds(json.dumps, inner),
    ),
    max_leaves=8,
)
CALLS = st.dictionaries(st.sampled_from(["x", "y"]), VALUES, max_size=2)
BUSY = settings(max_examples=300)


def whole(of: dict[str, Any], required: bool) -> dict[str, Any]:
    both = schema(of)
    both["properties"]["y"] = of
    return both | {"required": ["x"] if required else []}


@given(SCHEMAS, st.booleans(), CALLS)
@BUSY
def test_what_is_valid_is_never_changed_and_what_is_read_is_valid(
    of: dict[str, Any], required: bool, sent: dict[str, Any]
) -> None:
    written = json.dumps(sent)
    rules = whole(of, required)
    judge = Draft202012Validator(rules)
    valid = judge.is_valid(sent)
    try:
        meant = Reader(rules).read(sent, unexpected)
    except BadArguments:
        assert not valid
    else:
        assert judge.is_valid(meant)
        assert meant == sent or not valid
        assert set(meant) <= set(sent)
        assert ("x" in meant) is ("x" in sent) or not required
        assert Reader(rules).read(meant, unexpected) == meant
    assert json.dumps(sent) == written, "what was sent is not written into"


@given(SCHEMAS, VALUES)
@BUSY
def test_nothing_required_is_made_up(of: dict[str, Any], value: Any) -> None:
    sent = {"y": value} if Draft202012Validator(schema(of)).is_valid({"x": value}) else {}
    with pytest.raises(BadArguments, match="'x' is a required property"):
        Reader(whole(of, required=True)).read(sent, unexpected)


# --- against those who mean no good ---

EXPONENTIAL = {
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/Node"}},
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"c": {"anyOf": [{"$ref": "#/$defs/Node"}, {"$ref": "#/$defs/Node"}]}, "i": INT},
        }
    },
}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"i": "q"}
    for _ in range(depth):
        value = {"c": value}
    return value


@pytest.mark.parametrize(
    "hostile",
    [
        nested(60),
        nested(5000),
        {"i": "9" * 1_000_000},
        {"i": "1e" + "9" * 100_000},
        {"i": "[" * 500_000},
        {"i": '{"a":' * 100_000},
        {"i": '"' + "\\" * 500_000},
        {"i": "[" + "'a'," * 200_000},
        {"i": [""] * 200_000},
        {str(number): "" for number in range(50_000)} | {"i": "q"},
        {"c": [{"i": "q"}] * 50_000},
        json.dumps(nested(500)),
    ],
)
def test_hostile_arguments_end_soon_and_as_any_others(hostile: Any) -> None:
    began = time.process_time()
    with pytest.raises(BadArguments):
        Reader(EXPONENTIAL).read({"x": hostile}, unexpected)
    assert time.process_time() - began < 30, "what grows with the power of two would take for ever"


def test_any_number_of_names_that_nobody_declared_is_left_out_soon() -> None:
    many = schema(INT)
    many["properties"] = {f"name_{number}": INT for number in range(500)}
    sent = {f"other_{number}": number for number in range(100_000)} | {"Name 7": "7"}
    told: list[str] = []
    began = time.process_time()
    assert Reader(many).read(sent, told.append) == {"name_7": 7}
    assert len(told) == 100_000
    assert time.process_time() - began < 30, "each name held against each would take minutes"


def test_lists_without_repeats_are_checked_in_linear_time() -> None:
    of = {"type": "array", "uniqueItems": True}
    with pytest.raises(BadArguments, match="non-unique"):
        read(of, [{"a": number} for number in range(20_000)] + [{"a": 1}])


def test_texts_that_are_no_structure() -> None:
    for text in ("", "a", "5", '"a"', "{", "[1 2]", "{'a': b}", "['\\q']", "```", '"' * 9, "{'a': 'x" + "'" * 2 + "}"):
        assert structure(text) is None, text
    assert structure("{\"a\": 'b\nc', 'd': \"\\u00e9\\x41\"}") == {"a": "b\nc", "d": "éA"}
    assert structure('{"a": "line\nbreak"}') == {"a": "line\nbreak"}


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (None, ""),
        (b"null", ""),
        (b'""', ""),
        (b"{}", ""),
        (b"[]", ""),
        (b'{"job_id":null}', ""),
        (b'{"job_id":""}', ""),
        (b'{"job_id":"None"}', ""),
        (b'{"job_id":{}}', ""),
        (b'{"job_id":"1234"}', "1234"),
        (b'{"job_id":" 1234 "}', "1234"),
        (b'{"job_id":1234}', "1234"),
        (b'{"job_id":1234.0}', "1234"),
        (b'{"job_id":"1234.0"}', "1234"),
        (b'{"jobId":"1234","toolCallId":"t"}', "1234"),
        (b'"{\\"job_id\\":\\"1234\\"}"', "1234"),
        (b'{"job_id":"#1234"}', "1234"),
        (b'{"job_id":"1234 or 5678"}', "1234 or 5678"),
        (b'{"job_id":"soup"}', "soup"),
    ],
)
def test_the_number_of_a_job(raw: bytes | None, number: str) -> None:
    assert number_in(None if raw is None else Raw(raw)) == number
