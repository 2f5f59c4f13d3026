"""One definition at a time: what is right stays as it is, what can mean one thing is mended, the rest is left out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import _v2025_11_25 as v2025
from mcp_types import _v2026_07_28 as v2026

from mcp_endpoint.wire.definitions.definition_repair import DEEPEST, repair_definition
from mcp_endpoint.wire.definitions.ecma262 import compiles
from mcp_endpoint.wire.definitions.flaws import MOST_PER_DEFINITION, Flaw
from mcp_endpoint.wire.mcp import Kind

OBJECT = {"type": "object"}
LISTS = {
    Kind.TOOLS: (v2025.ListToolsResult, v2026.ListToolsResult),
    Kind.PROMPTS: (v2025.ListPromptsResult, v2026.ListPromptsResult),
    Kind.RESOURCES: (v2025.ListResourcesResult, v2026.ListResourcesResult),
    Kind.TEMPLATES: (v2025.ListResourceTemplatesResult, v2026.ListResourceTemplatesResult),
}
OF_2026 = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


def tool(**members: object) -> dict[str, Any]:
    return {"name": "b", "inputSchema": OBJECT} | members


def inputs(schema: object) -> dict[str, Any]:
    return {"name": "b", "inputSchema": schema}


def fitted(definition: object, kind: Kind = Kind.TOOLS) -> tuple[Any, set[Flaw]]:
    became = repair_definition(kind, json.dumps(definition).encode())
    return became.definition and json.loads(became.definition), {at.flaw for at in became.flaws}


@pytest.mark.parametrize(
    ("definition", "mended", "flaws"),
    [
        # nulls
        (tool(description=None, title=None, annotations=None, icons=None, _meta=None), tool(), {Flaw.NULL}),
        (tool(outputSchema=None, execution=None), tool(), {Flaw.NULL}),
        (inputs({"type": "object", "properties": None, "required": None}), tool(), {Flaw.NULL}),
        (
            inputs(
                {
                    "type": "object",
                    "properties": {"x": {"type": "string", "items": None, "enum": None, "default": None}},
                }
            ),
            inputs({"type": "object", "properties": {"x": {"type": "string", "default": None}}}),
            {Flaw.NULL},
        ),
        (
            inputs({"type": "object", "properties": {"x": None}}),
            inputs({"type": "object", "properties": {"x": {}}}),
            {Flaw.NULL},
        ),
        # wrong types
        (inputs(OBJECT | {"required": True}), tool(), {Flaw.WRONG_TYPE}),
        (
            inputs(OBJECT | {"required": False, "properties": []}),
            tool(inputSchema=OBJECT | {"properties": {}}),
            {Flaw.WRONG_TYPE},
        ),
        (
            inputs(OBJECT | {"properties": {"x": {}}, "required": "x"}),
            inputs(OBJECT | {"properties": {"x": {}}, "required": ["x"]}),
            {Flaw.WRONG_TYPE},
        ),
        (inputs(OBJECT | {"required": ["x", 3, "x"]}), inputs(OBJECT | {"required": ["x"]}), {Flaw.WRONG_TYPE}),
        (
            inputs(OBJECT | {"required": {"x": True, "y": False, "z": "true"}}),
            inputs(OBJECT | {"required": ["x", "z"]}),
            {Flaw.WRONG_TYPE},
        ),
        (inputs(OBJECT | {"required": ["x", None, 3]}), inputs(OBJECT | {"required": ["x"]}), {Flaw.WRONG_TYPE}),
        (
            inputs(OBJECT | {"properties": {"x": {"type": "string", "required": True}, "y": {"required": False}}}),
            inputs(OBJECT | {"properties": {"x": {"type": "string"}, "y": {}}, "required": ["x"]}),
            {Flaw.REQUIRED_INSIDE},
        ),
        (
            inputs(OBJECT | {"properties": {"x": {"type": "STR"}, "y": {"type": "string|null"}, "z": {"type": "any"}}}),
            inputs(OBJECT | {"properties": {"x": {"type": "string"}, "y": {"type": ["string", "null"]}, "z": {}}}),
            {Flaw.UNKNOWN_TYPE, Flaw.WRONG_TYPE},
        ),
        (
            inputs(OBJECT | {"properties": {"x": {"minLength": "3", "minimum": 1, "exclusiveMinimum": True}}}),
            inputs(OBJECT | {"properties": {"x": {"minLength": 3, "exclusiveMinimum": 1}}}),
            {Flaw.WRONG_TYPE},
        ),
        (
            inputs(OBJECT | {"properties": {"x": "int"}}),
            inputs(OBJECT | {"properties": {"x": {"type": "integer"}}}),
            {Flaw.WRONG_TYPE},
        ),
        (
            inputs(OBJECT | {"properties": [{"name": "x", "type": "string"}]}),
            inputs(OBJECT | {"properties": {"x": {"type": "string"}}}),
            {Flaw.WRONG_TYPE},
        ),
        (inputs(OBJECT | {"properties": {"x": True}}), inputs(OBJECT | {"properties": {"x": {}}}), {Flaw.WRONG_TYPE}),
        (tool(description=5), tool(description="5"), {Flaw.WRONG_TYPE}),
        (tool(description=["a", "b"]), tool(description="a\nb"), {Flaw.WRONG_TYPE}),
        (tool(description={"zh": "灯"}, title=True, _meta=[], annotations=[], icons={}), tool(), {Flaw.WRONG_TYPE}),
        (
            tool(annotations={"readOnlyHint": "true", "title": None}),
            tool(annotations={"readOnlyHint": True}),
            {Flaw.NULL, Flaw.WRONG_TYPE},
        ),
        (
            tool(icons=[{"src": "a:b", "sizes": "1x1"}, {}]),
            tool(icons=[{"src": "a:b", "sizes": ["1x1"]}]),
            {Flaw.WRONG_TYPE},
        ),
        (tool(execution={"taskSupport": "maybe"}), tool(execution={}), {Flaw.WRONG_TYPE}),
        # what the input is
        ({"name": "b"}, tool(), {Flaw.MISSING}),
        (inputs(None), tool(), {Flaw.NULL}),
        (inputs({}), tool(), {Flaw.NO_TYPE}),
        (inputs([]), tool(), {Flaw.WRONG_TYPE}),
        (inputs(True), tool(), {Flaw.WRONG_TYPE}),
        (inputs("object"), tool(), {Flaw.WRONG_TYPE}),
        (inputs(json.dumps(OBJECT)), tool(), {Flaw.AS_TEXT}),
        ({"name": "b", "parameters": OBJECT}, tool(), {Flaw.OTHER_NAME}),
        ({"name": "b", "input_schema": OBJECT}, tool(), {Flaw.OTHER_NAME}),
        (inputs({"properties": {"x": {}}}), inputs(OBJECT | {"properties": {"x": {}}}), {Flaw.NO_TYPE}),
        (
            inputs({"type": "string", "properties": {"x": {}}}),
            inputs(OBJECT | {"properties": {"x": {}}}),
            {Flaw.NO_TYPE},
        ),
        (inputs({"type": ["object", "null"]}), tool(), {Flaw.NO_TYPE}),
        (inputs({"type": "Object"}), tool(), {Flaw.UNKNOWN_TYPE}),
        (
            inputs({"anyOf": [OBJECT, {"type": "null"}]}),
            inputs(OBJECT | {"anyOf": [OBJECT, {"type": "null"}]}),
            {Flaw.NO_TYPE},
        ),
        (
            inputs({"$ref": "#/$defs/A", "$defs": {"A": OBJECT}}),
            inputs(OBJECT | {"$ref": "#/$defs/A", "$defs": {"A": OBJECT}}),
            {Flaw.NO_TYPE},
        ),
        (inputs({"x": {"type": "string"}}), inputs(OBJECT | {"properties": {"x": {"type": "string"}}}), {Flaw.NO_TYPE}),
        (inputs({"items": {"type": "string"}}), None, {Flaw.NO_ARGUMENTS}),
        (inputs(1), None, {Flaw.NO_ARGUMENTS}),
        (inputs("the city"), None, {Flaw.NO_ARGUMENTS}),
        (inputs({"type": "string"}), None, {Flaw.NO_ARGUMENTS}),
        (inputs({"type": "array", "items": {}}), None, {Flaw.NO_ARGUMENTS}),
        (inputs({"anyOf": [{"type": "string"}, {"type": "number"}]}), None, {Flaw.NO_ARGUMENTS}),
        (inputs({"allOf": [OBJECT, {"type": "string"}]}), None, {Flaw.NO_ARGUMENTS}),
        (inputs({"enum": ["on", "off"]}), None, {Flaw.NO_ARGUMENTS}),
        (inputs({"$ref": "#/$defs/A", "$defs": {"A": {"type": "string"}}}), None, {Flaw.NO_ARGUMENTS}),
        # references
        (
            inputs(OBJECT | {"properties": {"x": {"$ref": "#/$defs/No", "description": "d"}}}),
            inputs(OBJECT | {"properties": {"x": {"description": "d"}}}),
            {Flaw.LEADS_NOWHERE},
        ),
        (
            inputs(OBJECT | {"properties": {"x": {"$ref": "#/definitions/A"}}, "$defs": {"A": {}}}),
            inputs(OBJECT | {"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": {}}}),
            {Flaw.LEADS_NOWHERE},
        ),
        (
            inputs(OBJECT | {"properties": {"x": {"$ref": "#/$defs/A", "$defs": {"A": {}}}}}),
            inputs(OBJECT | {"properties": {"x": {"$ref": "#/properties/x/$defs/A", "$defs": {"A": {}}}}}),
            {Flaw.LEADS_NOWHERE},
        ),
        # what it says of its output
        (tool(outputSchema=[]), tool(), {Flaw.WRONG_TYPE}),
        (tool(outputSchema={}), tool(), {Flaw.WRONG_TYPE}),
        (
            tool(outputSchema={"$ref": "#/$defs/A", "$defs": {"A": OBJECT}}),
            tool(outputSchema=OBJECT | {"$ref": "#/$defs/A", "$defs": {"A": OBJECT}}),
            {Flaw.NO_TYPE},
        ),
        (tool(outputSchema={"type": "array"}), tool(outputSchema={"type": "array"}), {Flaw.OUTPUT_NOT_OBJECT}),
        (
            tool(outputSchema=OBJECT | {"properties": {"x": {"pattern": "(?P<year>a)", "nullable": True}}}),
            tool(outputSchema=OBJECT | {"properties": {"x": {}}}),
            {Flaw.BAD_PATTERN, Flaw.MISSING},
        ),
        (
            tool(outputSchema=OBJECT | {"properties": {"x": {"$ref": "https://example.com/x.json"}}}),
            tool(outputSchema=OBJECT | {"properties": {"x": {}}}),
            {Flaw.LEADS_NOWHERE},
        ),
        (
            tool(outputSchema=OBJECT | {"properties": {n: {"$id": "x", "$anchor": n} for n in ("x", "1")}, "id": 1}),
            tool(outputSchema=OBJECT | {"properties": {"x": {"$id": "x", "$anchor": "x"}, "1": {}}}),
            {Flaw.LISTED_TWICE, Flaw.WRONG_TYPE},
        ),
        (
            tool(
                outputSchema=OBJECT
                | {"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}
            ),
            tool(outputSchema=OBJECT | {"properties": {"x": {}}, "$defs": {"A": {}}}),
            {Flaw.LEADS_NOWHERE},
        ),
        (
            tool(outputSchema=OBJECT | {"dependencies": {"x": ["y"], "y": None}, "dependentRequired": {"x": None}}),
            tool(outputSchema=OBJECT | {"dependencies": {"x": ["y"], "y": {}}}),
            {Flaw.NULL, Flaw.WRONG_TYPE},
        ),
        # no tool at all
        ({"name": 5} | {"inputSchema": OBJECT}, None, {Flaw.NO_NAME}),
        ({"inputSchema": OBJECT}, None, {Flaw.NO_NAME}),
        (tool(name=""), None, {Flaw.NO_NAME}),
        (tool(name="b" * 257), None, {Flaw.LONG_NAME}),
        ([tool()], None, {Flaw.NOT_AN_OBJECT}),
        (None, None, {Flaw.NOT_AN_OBJECT}),
    ],
)
def test_a_tool(definition: object, mended: object, flaws: set[Flaw]) -> None:
    assert fitted(definition) == (mended, flaws)


@pytest.mark.parametrize(
    ("kind", "definition", "mended", "flaws"),
    [
        (Kind.PROMPTS, {"name": "p", "description": None, "arguments": None}, {"name": "p"}, {Flaw.NULL}),
        (
            Kind.PROMPTS,
            {"name": "p", "arguments": [{"name": "a", "required": "true", "description": None}, "b", {}, 3]},
            {"name": "p", "arguments": [{"name": "a", "required": True}, {"name": "b"}]},
            {Flaw.WRONG_TYPE},
        ),
        (
            Kind.PROMPTS,
            {"name": "p", "arguments": {"a": {"required": True}}},
            {"name": "p", "arguments": [{"name": "a", "required": True}]},
            {Flaw.WRONG_TYPE},
        ),
        (Kind.PROMPTS, {"name": None}, None, {Flaw.NO_NAME}),
        (
            Kind.RESOURCES,
            {
                "uri": "a:b",
                "mimeType": None,
                "size": "12",
                "annotations": {"audience": ["all"], "priority": 7, "lastModified": "now"},
            },
            {"uri": "a:b", "name": "a:b", "size": 12, "annotations": {}},
            {Flaw.NO_NAME, Flaw.NULL, Flaw.WRONG_TYPE},
        ),
        (Kind.RESOURCES, {"uri": "notes", "name": "n"}, None, {Flaw.NO_URI}),
        (Kind.RESOURCES, {"name": "n"}, None, {Flaw.NO_NAME}),
        (
            Kind.TEMPLATES,
            {"uriTemplate": "a:{b}", "title": 3},
            {"uriTemplate": "a:{b}", "title": "3", "name": "a:{b}"},
            {Flaw.NO_NAME, Flaw.WRONG_TYPE},
        ),
    ],
)
def test_a_prompt_and_a_resource(kind: Kind, definition: object, mended: object, flaws: set[Flaw]) -> None:
    assert fitted(definition, kind) == (mended, flaws)


def test_one_that_is_nested_too_deeply_is_left_out_alone() -> None:
    deep = b'{"name":"b","inputSchema":{"type":"object","default":%b%b}}'
    assert repair_definition(Kind.TOOLS, deep % (b"[" * (DEEPEST - 2), b"]" * (DEEPEST - 2))).definition is not None
    for brackets in (DEEPEST, 100_000):
        [at] = repair_definition(Kind.TOOLS, deep % (b"[" * brackets, b"]" * brackets)).flaws
        assert at.flaw is Flaw.TOO_DEEP
    wide = tool(description='["[{' * DEEPEST, _meta={"x": [[], {}] * DEEPEST})
    assert fitted(wide) == (wide, set())


@pytest.mark.parametrize(
    "pattern", ["", "^a$", r"^\d{4}-\d\d$", r"\p{L}+", "(?<y>a)", "(?=x)(?!y)(?<=z)a+?", "a{2,}|b", "[a-z.-]"]
)
def test_a_pattern_that_validators_compile(pattern: str) -> None:
    assert compiles(pattern)


@pytest.mark.parametrize(
    "pattern", ["(?P<x>a)", "(?i)a", r"\A", r"a\-b", r"[\w-.]", "a**", "{", "(a", "a)", "[]]", "+a", "\\"]
)
def test_a_pattern_that_validators_do_not_compile(pattern: str) -> None:
    assert not compiles(pattern)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
WORDS = [
    *("type", "properties", "required", "items", "enum", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions"),
    *("description", "title", "default", "const", "minimum", "exclusiveMinimum", "minLength", "uniqueItems", "not"),
    *("additionalProperties", "pattern", "nullable", "$id", "$anchor", "format"),
]
VALUES = JSON | st.sampled_from(["object", "string", ["object", "null"], "#/$defs/a", "#", "#/properties/a", "a", True])
SCHEMAS = st.recursive(
    st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=4) | VALUES,
    lambda inner: st.dictionaries(
        st.sampled_from(WORDS),
        inner | st.dictionaries(st.sampled_from("ab"), inner, max_size=2) | st.lists(inner, max_size=2),
    ),
    max_leaves=8,
)
MEMBERS = {
    Kind.TOOLS: {
        "name": st.just("b") | JSON,
        "inputSchema": SCHEMAS | st.just(OBJECT),
        "outputSchema": SCHEMAS,
        "annotations": JSON,
        "execution": JSON,
    },
    Kind.PROMPTS: {
        "name": st.just("b") | JSON,
        "arguments": JSON | st.lists(st.fixed_dictionaries({"name": st.text(max_size=2)}, optional={"required": JSON})),
    },
    Kind.RESOURCES: {"uri": st.just("a:b") | JSON, "name": JSON, "size": JSON, "mimeType": JSON, "annotations": JSON},
    Kind.TEMPLATES: {"uriTemplate": st.just("a:{b}") | JSON, "name": JSON, "mimeType": JSON, "annotations": JSON},
}
COMMON = {"title": JSON, "description": JSON, "icons": JSON, "_meta": JSON, "x": JSON}
DEFINITIONS = st.sampled_from(list(Kind)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.fixed_dictionaries({}, optional=MEMBERS[kind] | COMMON) | JSON)
)


def accepted(kind: Kind, definition: bytes) -> bool:
    """Whether the models of the official Python SDK take a list with it, whatever it says of its output."""
    try:
        for model in LISTS[kind]:
            model.model_validate({kind.member: [json.loads(definition)]} | OF_2026, strict=True)
    except ValueError:
        return False
    return True


@given(DEFINITIONS)
def test_whatever_comes_is_taken_by_clients_or_left_out_with_a_reason(made: tuple[Kind, object]) -> None:
    kind, definition = made
    raw = json.dumps(definition).encode()
    became = repair_definition(kind, raw)
    if became.definition is None:
        assert became.flaws
        return
    shown = json.loads(became.definition)
    if (
        not isinstance(shown.get("outputSchema", OBJECT), dict)
        or shown.get("outputSchema", OBJECT).get("type") != "object"
    ):
        flaws = [at.flaw for at in became.flaws]
        assert Flaw.OUTPUT_NOT_OBJECT in flaws or len(flaws) == MOST_PER_DEFINITION
        del shown["outputSchema"]
    assert accepted(kind, json.dumps(shown).encode())
    assert shown[kind.naming] == became.name
    again = repair_definition(kind, became.definition)
    assert again.definition == became.definition, "what was mended is right"
    if became.definition != raw:
        assert became.flaws, "nothing is mended without a word"
