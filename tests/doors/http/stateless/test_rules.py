"""The stateless era's rules against the official SDK's own (`mcp.shared.inbound`), and what they do to bytes."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mcp.shared.inbound import (
    InboundLadderRejection,
    classify_inbound_request,
    decode_header_value,
    encode_header_value,
    find_invalid_x_mcp_header,
    mcp_param_headers,
    validate_mcp_param_headers,
    x_mcp_header_map,
)
from msgspec import UNSET, Raw

from mcp_endpoint.wire import param_headers, stateless
from mcp_endpoint.wire.mcp import REVISIONS

FIELD_VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
VERSIONS = st.sampled_from([stateless.REVISION, "2025-11-25", "1900-01-01", "", None, 7])
METHODS = st.sampled_from(["tools/call", "tools/list", "prompts/get", "resources/read", "server/discover"])
NAMES = st.sampled_from(["add", "加", " x ", "=?base64?YQ==?=", ""])


def raw(value: object) -> Raw:
    return Raw(json.dumps(value).encode())


def verdict(call: Any) -> int:
    """The code that a check refuses with; 0 if it does not."""
    try:
        call()
    except stateless.InvalidRequest as unfit:
        return int(unfit.why.code)
    return 0


@given(st.one_of(FIELD_VALUE, st.text().map(encode_header_value), FIELD_VALUE.map("=?base64?{}?=".format)))
@example("=?base64?SGVsbG8?=")
@example("=?base64?SGVsbG9=?=")
def test_header_values_are_read_as_the_sdk_reads_them(value: str) -> None:
    assert stateless.decode(value) == decode_header_value(value)


@given(st.text())
def test_what_the_sdk_writes_into_a_header_is_read_back(value: str) -> None:
    assert stateless.decode(encode_header_value(value)) == value


@pytest.mark.parametrize("value", [None, "\x01", "é", "a\x7f", "=?base64?/w==?="])
def test_a_value_that_no_header_may_have_stands_for_nothing(value: str | None) -> None:
    assert stateless.decode(value) is None


METAS = st.fixed_dictionaries(
    {}, optional={stateless.VERSION: VERSIONS, stateless.CAPABILITIES: st.just({}), "progressToken": st.just(1)}
)


@given(
    METHODS,
    st.one_of(st.none(), METAS),
    st.fixed_dictionaries({}, optional={"name": NAMES, "uri": NAMES}),
    st.fixed_dictionaries(
        {},
        optional={
            stateless.VERSION_HEADER: st.sampled_from([stateless.REVISION, "2025-11-25", "1900-01-01"]),
            stateless.METHOD_HEADER: METHODS,
            stateless.NAME_HEADER: NAMES.map(encode_header_value),
        },
    ),
)
def test_a_request_is_refused_with_the_code_the_sdk_refuses_it_with(
    method: str, meta: object, named: dict[str, object], headers: dict[str, str]
) -> None:
    params = named if meta is None else named | {"_meta": meta}
    theirs = classify_inbound_request({"method": method, "params": params}, headers=headers)
    code = theirs.code if isinstance(theirs, InboundLadderRejection) else 0
    assert verdict(lambda: stateless.check(method, raw(params), headers)) == code


LEAVES = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "boolean", "number", "object"])},
    optional={"x-mcp-header": st.sampled_from(["Region", "region", "A", "", "a b", 7])},
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "$defs": st.dictionaries(st.sampled_from(["a"]), inner),
            "default": inner,
        },
    ),
    max_leaves=4,
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.just([1])
)
ARGUMENTS = st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(VALUES, st.dictionaries(st.just("a"), VALUES)))


@given(
    st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("ab"), SCHEMAS)}),
    ARGUMENTS,
    st.dictionaries(st.sampled_from(["mcp-param-region", "mcp-param-a"]), FIELD_VALUE, max_size=1),
    st.booleans(),
)
def test_headers_of_arguments_are_held_against_them_as_the_sdk_does(
    schema: Any, arguments: Any, more: dict[str, str], sent: bool
) -> None:
    headers = {}
    if sent and find_invalid_x_mcp_header(schema) is None:
        written = mcp_param_headers(x_mcp_header_map(schema), arguments)
        headers = {name.lower(): value for name, value in written.items()}
    headers |= more
    theirs = validate_mcp_param_headers(schema, arguments, headers)
    definition = json.dumps({"name": "t", "inputSchema": schema}).encode()
    ours = verdict(lambda: param_headers.check(definition, raw(arguments), headers, set()))
    assert ours == (0 if theirs is None else theirs.code)


@pytest.mark.parametrize(("said", "code"), [("42", 0), ("42.0", 0), ("42.5", -32020), ("4.2e1", -32020), ("x", -32020)])
def test_an_integer_may_be_spelled_otherwise(said: str, code: int) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}}
    definition = json.dumps({"name": "t", "inputSchema": schema}).encode()
    assert verdict(lambda: param_headers.check(definition, raw({"n": 42}), {"mcp-param-n": said}, set())) == code


def test_a_header_of_an_argument_that_comes_twice_is_refused() -> None:
    definition = b'{"inputSchema":{"properties":{"n":{"type":"string","x-mcp-header":"N"}}}}'
    call = raw({"n": "a, b"})
    assert verdict(lambda: param_headers.check(definition, call, {"mcp-param-n": "a, b"}, set())) == 0
    assert verdict(lambda: param_headers.check(definition, call, {"mcp-param-n": "a, b"}, {"mcp-param-n"})) == -32020


# --- translation ---


def test_a_request_loses_the_envelope_and_keeps_everything_else_as_it_was_spelled() -> None:
    meta = b'{"%b":"2026-07-28","progressToken":1.0,"io.modelcontextprotocol/related-task":{"taskId":"x"}}'
    params = Raw(b'{"name":"a","arguments":{"x":1e2},"_meta":%b}' % (meta % stateless.VERSION.encode()))
    assert stateless.without_envelope(b'"\\u0061"', "tools/call", params) == (
        b'{"jsonrpc":"2.0","id":"\\u0061","method":"tools/call","params":{"name":"a","arguments":{"x":1e2},'
        b'"_meta":{"progressToken":1.0,"io.modelcontextprotocol/related-task":{"taskId":"x"}}}}'
    )
    bare = Raw(b'{"_meta":{"%b":"2026-07-28"}}' % stateless.VERSION.encode())
    assert stateless.without_envelope(b"1", "tools/list", bare).endswith(b'"params":{}}')
    assert stateless.without_envelope(b"1", "tools/list", UNSET).endswith(b'"params":{}}')


INFO = b'{"name":"s","version":"1"}'
STAMP = b'"io.modelcontextprotocol/serverInfo":' + INFO


@pytest.mark.parametrize(
    ("method", "result", "whole"),
    [
        ("tools/call", b'{"x":1e2}', b'{"x":1e2,"resultType":"complete","_meta":{%b}}' % STAMP),
        ("tools/call", b" { } ", b'{"resultType":"complete","_meta":{%b}}' % STAMP),
        ("tools/call", b'{"resultType":"input_required"}', b'{"resultType":"input_required"}'),
        ("tools/call", b"[1]", b"[1]"),
        ("tools/call", b'{"_meta":{"a":1.0}}', b'{"_meta":{"a":1.0,%b},"resultType":"complete"}' % STAMP),
        ("tools/call", b'{"_meta":{%b}}' % STAMP, b'{"_meta":{%b},"resultType":"complete"}' % STAMP),
        (
            "resources/read",
            b'{"ttlMs":5,"_meta":null}',
            b'{"ttlMs":5,"_meta":null,"resultType":"complete","cacheScope":"private"}',
        ),
        (
            "tools/list",
            b'{"tools":[]}',
            b'{"tools":[],"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{%b}}' % STAMP,
        ),
    ],
)
def test_a_result_gains_what_is_new_and_keeps_its_bytes(method: str, result: bytes, whole: bytes) -> None:
    assert stateless.complete(result, method, INFO) == whole
    json.loads(whole)


@pytest.mark.parametrize(
    ("method", "error", "after"),
    [
        ("resources/read", {"code": -32002, "message": "m"}, {"code": -32602, "message": "m", "data": {"uri": "u:1"}}),
        (
            "resources/read",
            {"code": -32602, "message": "m", "data": {"reason": "r"}},
            {"code": -32602, "message": "m", "data": {"uri": "u:1", "reason": "r"}},
        ),
        ("resources/read", {"code": -32602, "message": "m", "data": "d"}, None),
        ("resources/read", {"code": -32002, "message": "m", "data": {"reason": "too_many_calls"}}, None),
        ("resources/read", {"code": -32001, "message": "m"}, None),
        ("tools/call", {"code": -32602, "message": "m"}, None),
        ("tools/call", {"code": -32002, "message": "m"}, None),
        ("tools/call", {"message": "m"}, None),
    ],
)
def test_a_resource_that_is_not_there_is_bad_params_now(method: str, error: Any, after: Any) -> None:
    said, code = stateless.error_of(raw(error), method, raw({"uri": "u:1"}), "too_many_calls")
    assert json.loads(said) == (after or error)
    assert code == (after or error).get("code", 0)


def test_a_notification_of_a_stream_says_whose_it_is() -> None:
    assert stateless.of_subscription(b'"a"', "notifications/x", UNSET) == (
        b'{"jsonrpc":"2.0","method":"notifications/x","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"a"}}}'
    )
    with_params = stateless.of_subscription(b"1", "notifications/x", Raw(b'{"uri":"u","_meta":{"a":1}}'))
    assert json.loads(with_params)["params"] == {"uri": "u", "_meta": {"a": 1, stateless.SUBSCRIPTION_ID: 1}}


@pytest.mark.parametrize("params", [{}, {"notifications": []}, {"notifications": {"toolsListChanged": 1}}])
def test_a_filter_that_is_none_is_refused(params: object) -> None:
    assert verdict(lambda: stateless.read_filter(raw(params), 3)) == -32602


def test_a_filter_is_acknowledged_without_what_it_did_not_ask_for() -> None:
    params = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["a", "b", "a"], "more": 1}}
    asked = stateless.read_filter(raw(params), 2)
    assert asked.methods == {"notifications/tools/list_changed"}
    assert json.loads(asked.honoured(["b"])) == {"toolsListChanged": True, "resourceSubscriptions": ["b"]}
    assert verdict(lambda: stateless.read_filter(raw(params), 1)) == -32602


def test_both_eras_are_named_as_spoken() -> None:
    assert set(stateless.SUPPORTED) == {stateless.REVISION, *REVISIONS}
