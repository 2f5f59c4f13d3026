"""What each kind of client is shown of a tool: no more than it can take, and the same bytes where that is all."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mcp_endpoint.broker.agent_state.catalogue import Listing
from mcp_endpoint.broker.offers.offer import Offer
from mcp_endpoint.broker.tool_side.program import Registration
from mcp_endpoint.wire.definitions.client_views import LARGEST, ROOM, ClientKind, shown
from mcp_endpoint.wire.definitions.definition_repair import DEEPEST, repair_definition
from mcp_endpoint.wire.definitions.inlined_schema import inlined
from mcp_endpoint.wire.mcp import Kind

OBJECT: dict[str, Any] = {"type": "object"}
WHEN = {
    "type": "object",
    "title": "When",
    "properties": {"day": {"type": "string"}, "then": {"$ref": "#/$defs/When"}},
    "required": ["day"],
}


def definition(schema: object = OBJECT, **members: object) -> bytes:
    return json.dumps({"name": "b", "inputSchema": schema} | members).encode()


def to_xiaozhi(schema: object) -> Any:
    [one] = shown(ClientKind.XIAOZHI, [definition(schema)])
    return json.loads(one)["inputSchema"]


@pytest.mark.parametrize(
    ("output", "seen_by"),
    [
        (OBJECT, {ClientKind.HANDSHAKE, ClientKind.STATELESS}),
        ({"type": "array"}, {ClientKind.STATELESS}),
        ({"anyOf": [{"type": "string"}]}, {ClientKind.STATELESS}),
    ],
)
def test_who_is_shown_the_schema_of_an_output(output: object, seen_by: set[ClientKind]) -> None:
    with_output, without = definition(outputSchema=output), definition()
    for client in ClientKind:
        [one] = shown(client, [with_output])
        if client in seen_by:
            assert one is with_output
        else:
            assert json.loads(one) == json.loads(without)


@pytest.mark.parametrize("client", ClientKind)
def test_what_needs_no_change_is_the_very_same(client: ClientKind) -> None:
    schema = OBJECT | {"properties": {"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "$ref": {}, "allOf": {}}}
    one = definition(schema, description='"outputSchema" "$ref"')
    [same] = shown(client, [one])
    assert same is one


def test_pages_are_worked_out_for_those_who_ask() -> None:
    registration = Registration("agent", "calc", "calc")
    registration.offers = {Kind.TOOLS: (Offer("b", definition(outputSchema=OBJECT)),)}
    listing = Listing(Kind.TOOLS, [registration])
    assert listing.pages(ClientKind.HANDSHAKE) is listing.pages(ClientKind.HANDSHAKE)
    assert b"outputSchema" in listing.pages()[0]
    assert b"outputSchema" not in listing.pages(ClientKind.XIAOZHI)[0]


TREE = {"type": "array", "items": {"$ref": "#/$defs/Tree"}}
X, XY, Y, Z = ({name: {} for name in names} for names in ("x", "xy", "y", "z"))


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (
            {"properties": {"when": {"$ref": "#/$defs/When", "description": "at"}}, "$defs": {"When": WHEN}},
            {
                "properties": {
                    "when": {
                        "type": "object",
                        "title": "When",
                        "properties": {"day": {"type": "string"}, "then": {"type": "object"}},
                        "required": ["day"],
                        "description": "at",
                    }
                }
            },
        ),
        (
            {"properties": {"tree": {"$ref": "#/$defs/Tree"}}, "$defs": {"Tree": TREE}},
            {"properties": {"tree": {"type": "array", "items": {"type": "array"}}}},
        ),
        ({"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"type": "object"}}}),
        (
            {"$ref": "#/definitions/A", "definitions": {"A": {"properties": X, "required": ["x"]}}},
            {"properties": X, "required": ["x"]},
        ),
        (
            {"properties": X, "allOf": [{"properties": Y, "required": ["y"]}, {"$ref": "#/$defs/B"}]}
            | {"$defs": {"B": {"properties": Z}}},
            {"properties": X | Y | Z, "required": ["y"]},
        ),
        (
            {
                "anyOf": [
                    {"properties": XY, "required": ["x", "y"]},
                    {"properties": Y, "required": ["y"]},
                    {"type": "null"},
                ]
            },
            {"properties": XY, "required": ["y"]},
        ),
    ],
)
def test_arguments_stand_where_xiaozhi_looks_for_them(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    assert to_xiaozhi(OBJECT | schema) == OBJECT | arguments


def test_what_is_put_in_place_of_references_is_bounded() -> None:
    doubling = {f"d{n}": {"properties": {side: {"$ref": f"#/$defs/d{n + 1}"} for side in "lr"}} for n in range(60)}
    schema = OBJECT | {"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": doubling | {"d60": {"type": "string"}}}
    assert len(json.dumps(to_xiaozhi(schema))) < 3 * ROOM
    several = shown(ClientKind.XIAOZHI, [definition(schema)] * 500)
    assert sum(map(len, several)) < 500 * len(definition(schema))
    large = OBJECT | {"properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"description": "x" * LARGEST}}}
    [one] = shown(ClientKind.XIAOZHI, [definition(large)])
    assert len(one) < LARGEST
    chain = {f"d{n}": {"properties": {"p": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(2000)}
    schema = OBJECT | {"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": chain | {"d2000": {}}}
    [one] = shown(ClientKind.XIAOZHI, [definition(schema)])
    assert repair_definition(Kind.TOOLS, one).definition == one, "no deeper than any reader can go"
    deep: dict[str, Any] = {}
    for _ in range(DEEPEST - 6):
        deep = {"not": deep}
    to_xiaozhi(OBJECT | {"properties": {"x": deep, "y": {"$ref": "#/properties/x"}}})


LEAVES = st.sampled_from(
    [{"type": "string"}, {"type": "integer"}, {"enum": [1, "a"]}, {"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda all_: {"allOf": all_}, st.lists(inner, min_size=1, max_size=2))
        | st.builds(lambda any_: {"anyOf": any_}, st.lists(inner, min_size=1, max_size=2))
        | st.builds(
            lambda own: OBJECT | {"properties": own}, st.dictionaries(st.sampled_from("xyz"), inner, max_size=2)
        )
    ),
    max_leaves=5,
)
VALUES = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from("xyz"), SCHEMAS, max_size=3),
    st.tuples(SCHEMAS, SCHEMAS),
    st.lists(SCHEMAS, max_size=1),
    VALUES,
)
def test_what_a_schema_allows_stays_allowed(
    properties: dict[str, Any], defs: tuple[Any, Any], all_of: list[Any], value: Any
) -> None:
    """A model that keeps to what it is shown may be told of too much, never kept from what the tool takes."""
    schema = OBJECT | {"properties": properties, "$defs": dict(zip("AB", defs, strict=True))}
    schema |= {"allOf": all_of} if all_of else {}
    became = repair_definition(Kind.TOOLS, definition(schema))
    if became.definition is None:
        return
    sound = json.loads(became.definition)["inputSchema"]
    assert "$ref" not in json.dumps(inlined(sound, ROOM))
    with contextlib.suppress(RecursionError):  # the schema says of a value what the value is not one step nearer to
        if isinstance(value, dict) and Draft202012Validator(sound).is_valid(value):
            assert Draft202012Validator(inlined(sound, ROOM)).is_valid(value)
