"""Arguments that say nothing, on their way to a program that the broker does not own."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import UNSET, Raw

from mcp_endpoint.wire.absent_arguments import is_refused_by_pattern, no_arguments, without_arguments, without_empty

INT = {"type": "integer"}


@pytest.mark.parametrize("raw", [b"null", b'""', b'" "', b'"\\n\\t"', b'"\\u00a0"'])
def test_arguments_that_no_server_can_read(raw: bytes) -> None:
    assert no_arguments(Raw(raw))


@pytest.mark.parametrize(
    "raw", [b"{}", b"[]", b"0", b"false", b'"null"', b'"{}"', b'{"a":null}', b'"%b"' % (b" " * 300)]
)
def test_arguments_that_may_mean_something_to_somebody(raw: bytes) -> None:
    assert not no_arguments(Raw(raw))


def test_no_arguments_at_all() -> None:
    assert not no_arguments(UNSET)
    assert without_arguments(Raw(b'{"name": "t","arguments":null,"x":1.0}')) == b'{"name":"t","x":1.0}'


def kept(schema: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """What is passed on of these arguments."""
    params = Raw(json.dumps({"name": "t", "arguments": arguments}).encode())
    changed = without_empty(params, json.dumps({"name": "t", "inputSchema": schema}).encode())
    got = arguments if changed is None else json.loads(changed)["arguments"]
    assert isinstance(got, dict)
    assert (changed is None) is (got == arguments)
    return got


NOT_ALLOWED: list[tuple[Any, Any]] = [
    (INT, ""),
    (INT, None),
    ({"type": "string"}, None),
    ({"type": ["integer", "null"]}, ""),
    ({"enum": ["a", "b"]}, ""),
    ({"enum": ["a", ""]}, None),
    ({"const": "a"}, ""),
    ({"type": "string", "minLength": 1}, ""),
    ({"type": "string", "format": "date"}, ""),
    ({"type": "string", "pattern": "^[0-9]+$"}, ""),
    ({"$ref": "#/$defs/Int"}, ""),
    ({"allOf": [{}, {"$ref": "#/$defs/Int"}]}, None),
    ({"anyOf": [INT, {"type": "boolean"}]}, ""),
    ({"oneOf": [INT, {"type": "null"}]}, ""),
    (False, ""),
]


@pytest.mark.parametrize(("of", "value"), NOT_ALLOWED)
def test_what_a_schema_does_not_allow_is_left_out_if_it_is_optional(of: Any, value: Any) -> None:
    schema = {"type": "object", "properties": {"x": of}, "$defs": {"Int": INT}}
    assert kept(schema, {"x": value, "y": value, "z": 1}) == {"y": value, "z": 1}
    assert kept(schema | {"required": ["x"]}, {"x": value}) == {"x": value}
    assert kept({"$ref": "#/$defs/All", "$defs": {"Int": INT, "All": schema}}, {"x": value}) == {}
    assert kept({"allOf": [schema, {"required": ["x"]}], "$defs": {"Int": INT}}, {"x": value}) == {"x": value}
    assert kept(schema | {"anyOf": [{"required": ["x"]}, {}]}, {"x": value}) == {"x": value}


@pytest.mark.parametrize(
    ("of", "value"),
    [
        ({}, None),
        (True, ""),
        ({"type": "string"}, ""),
        ({"type": ["string", "null"]}, None),
        ({"type": "string", "nullable": True}, None),
        ({"anyOf": [INT, {"type": "null"}]}, None),
        ({"enum": ["", None]}, None),
        ({"pattern": "^(a|b)+$"}, ""),
        ({"pattern": "("}, ""),
        ({"$ref": "#/$defs/Nowhere"}, None),
        ({"$ref": "https://example.com/schema"}, None),
    ],
)
def test_what_is_allowed_or_not_known_stays(of: Any, value: Any) -> None:
    assert kept({"type": "object", "properties": {"x": of}}, {"x": value}) == {"x": value}


def test_undeclared_arguments_stay_unless_the_schema_forbids_them() -> None:
    assert kept({"properties": {}}, {"x": None}) == {"x": None}
    assert kept({"properties": {}, "additionalProperties": False}, {"x": None, "y": 1}) == {"y": 1}
    assert kept({"additionalProperties": INT}, {"x": ""}) == {}
    assert kept({"additionalProperties": False, "patternProperties": {"": {}}}, {"x": ""}) == {"x": ""}


def test_only_empty_arguments_change_and_the_rest_stays_the_bytes_it_was() -> None:
    definition = b'{"name":"t","inputSchema":{"properties":{"x":{"type":"integer"}}}}'
    params = Raw(
        b'{"_meta": {"a": 1.0}, "arguments":{"x": null,"y":1.50e2, "z" : "\\u00e9","w":{"x":null}},"name":"t"}'
    )
    assert without_empty(params, definition) == (
        b'{"_meta":{"a": 1.0},"arguments":{"y":1.50e2,"z":"\\u00e9","w":{"x":null}},"name":"t"}'
    )
    for odd in (b'{"name":"t"}', b'{"name":"t","arguments":[null]}', b'{"name":"t","arguments":{"x":" "}}', b"[]"):
        assert without_empty(Raw(odd), definition) is None
    for bad in (
        b"",
        b"{}",
        b"[1]",
        b'{"inputSchema":null}',
        b'{"inputSchema":{"properties":[]}}',
        b'{"inputSchema":"x"}',
    ):
        assert without_empty(params, bad) is None


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            *({"type": kind} for kind in ("string", "integer", "null", "object")),
            *(
                {},
                True,
                False,
                {"enum": ["", 1]},
                {"enum": [None]},
                {"const": ""},
                {"minLength": 1},
                {"$ref": "#/$defs/Int"},
            ),
        ]
    ),
    lambda inner: st.builds(
        lambda word, several: {word: several},
        st.sampled_from(["anyOf", "oneOf", "allOf"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


@given(SCHEMAS, st.booleans(), st.sampled_from([None, ""]))
@settings(max_examples=300)
def test_nothing_that_is_allowed_or_required_is_ever_left_out(of: Any, required: bool, value: Any) -> None:
    schema = {"type": "object", "properties": {"x": of}, "required": ["x"] * required, "$defs": {"Int": INT}}
    if kept(schema, {"x": value}) == {}:
        assert not required
        assert not Draft202012Validator(schema).is_valid({"x": value})


def test_hostile_schemas_end_soon() -> None:
    loop = {"anyOf": [{"$ref": "#/$defs/L"}] * 20, "allOf": [{"$ref": "#/$defs/L"}] * 20}
    began = time.process_time()
    assert kept({"properties": {"x": {"$ref": "#/$defs/L"}}, "$defs": {"L": loop}}, {"x": None}) == {"x": None}
    assert kept(loop | {"$defs": {"L": loop}}, {str(n): None for n in range(2000)})
    for pattern in ("(a*)*" * 50, "(?:a?|b?)" * 60 + "c", "(a|)+" * 90):
        assert not is_refused_by_pattern(pattern)
    assert time.process_time() - began < 30, "what grows with the power of two would take for ever"
