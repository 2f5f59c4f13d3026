"""Frames of the handshake era as those of 2026-07-28, and back; held against the SDK's own rules."""

import json
from typing import Any

import pytest
from mcp.shared.inbound import InboundModernRoute, classify_inbound_request

from mcp_endpoint.providers.transports.stateless import Post, Stateless
from mcp_endpoint.wire import envelope
from mcp_endpoint.wire.stateless import decode, spell

HELLO = b'{"protocolVersion":"2025-06-18","capabilities":{"sampling":{}},"clientInfo":{"name":"b","version":"1"}}'
DISCOVERED: dict[str, Any] = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}},
    "instructions": "Do.",
    "resultType": "complete",
    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "s", "version": "2"}},
}


def answer(result: object, id_: object = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "result": result}).encode()


def greeted() -> Stateless:
    server = Stateless(HELLO)
    assert server.greeting(b"1", answer(DISCOVERED)) is not None
    return server


def outgoing(server: Stateless, method: str, **params: object) -> Any:
    frame = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}, ensure_ascii=False).encode()
    made = server.outgoing(b"7", envelope.read(frame))
    return made if isinstance(made, Post) else json.loads(made)


def test_the_greeting() -> None:
    made = Stateless(HELLO).greeting(b"1", answer(DISCOVERED))
    assert made is not None
    assert json.loads(made)["result"] == {
        "protocolVersion": "2025-06-18",
        "capabilities": DISCOVERED["capabilities"],
        "serverInfo": {"name": "s", "version": "2"},
        "instructions": "Do.",
    }


@pytest.mark.parametrize("result", [{}, {"supportedVersions": ["2025-11-25"]}, {"supportedVersions": 1}, 5, None])
def test_no_greeting(result: object) -> None:
    assert Stateless(HELLO).greeting(b"1", answer(result)) is None
    assert Stateless(b"[]").greeting(b"1", b"nonsense") is None


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/list", {}),
        ("tools/call", {"name": "a", "arguments": {}, "_meta": {"progressToken": 5}}),
        ("tools/call", {"name": "天气 "}),
        ("tools/call", {"name": "=?base64?eA==?="}),
        ("prompts/get", {"name": "p"}),
        ("resources/read", {"uri": "file:///a b"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}),
    ],
)
def test_a_request_is_as_the_sdk_wants_it(method: str, params: dict[str, Any]) -> None:
    post = outgoing(greeted(), method, **params)
    body = json.loads(post.frame)
    headers = {name.lower(): value for name, value in post.headers.items()}
    verdict = classify_inbound_request(body, headers=headers)
    assert isinstance(verdict, InboundModernRoute), verdict
    assert verdict.client_info == {"name": "b", "version": "1"}
    assert verdict.client_capabilities == {}
    assert body["params"]["_meta"].get("progressToken") == params.get("_meta", {}).get("progressToken")


def test_params_stay_the_bytes_they_were() -> None:
    frame = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x":1.0,"y":"\\u4f60"}}}'
    post = greeted().outgoing(b"7", envelope.read(frame))
    assert isinstance(post, Post)
    assert b'"arguments":{"x":1.0,"y":"\\u4f60"}' in post.frame


@pytest.mark.parametrize("text", ["", "a", "a b", " a", "a ", "é", "a\nb", "=?base64?eA==?="])
def test_a_header_can_be_read_back(text: str) -> None:
    assert decode(spell(text)) == text
    assert spell(text).isascii()
    assert "\n" not in spell(text)


def test_what_this_era_has_no_more_is_answered_here() -> None:
    server = greeted()
    assert outgoing(server, "logging/setLevel", level="warning")["result"] == {}
    meta = json.loads(outgoing(server, "tools/list").frame)["params"]["_meta"]
    assert meta["io.modelcontextprotocol/logLevel"] == "warning"


def test_a_ping_becomes_a_question_that_a_server_which_hangs_does_not_answer() -> None:
    server = greeted()
    assert json.loads(outgoing(server, "ping").frame)["method"] == "server/discover"
    found = answer({"supportedVersions": ["2026-07-28"], "resultType": "complete"})
    assert json.loads(server.incoming(found, "ping"))["result"] == {}
    refused = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}'
    assert server.incoming(refused, "ping") is refused


def test_what_is_listened_for() -> None:
    assert Stateless(HELLO).listens() is None
    server = greeted()
    assert outgoing(server, "resources/subscribe", uri="a://1")["result"] == {}
    assert outgoing(server, "resources/subscribe", uri="a://2")["result"] == {}
    assert outgoing(server, "resources/unsubscribe", uri="a://1")["result"] == {}
    assert "error" in outgoing(server, "resources/subscribe")
    listens = server.listens()
    assert listens is not None
    wanted = json.loads(listens.frame)["params"]["notifications"]
    assert wanted == {"toolsListChanged": True, "resourceSubscriptions": ["a://2"]}
    assert [json.loads(frame)["method"] for frame in server.missed()] == ["notifications/tools/list_changed"]


def test_answers_come_back_without_what_this_era_adds() -> None:
    server = greeted()
    assert json.loads(server.incoming(answer({"tools": [], "resultType": "complete"}), "x"))["result"] == {"tools": []}
    plain = b'{"jsonrpc":"2.0","id":1,"result":{"a": 1.0}}'
    assert server.incoming(plain, "x") is plain
    for other in (b"nonsense", b'{"jsonrpc":"2.0","method":"notifications/progress"}', b'{"id":1,"error":{}}'):
        assert server.incoming(other, "x") is other
    asks = server.incoming(answer({"resultType": "input_required", "inputRequests": {}}), "tools/call")
    assert json.loads(asks)["error"]["code"] == -32003


def test_arguments_that_go_into_headers() -> None:
    server = greeted()
    schema = {
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "inner": {"properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
            "other": {"type": "string"},
        }
    }
    server.incoming(answer({"tools": [{"name": "t", "inputSchema": schema}]}), "tools/list")
    headers = outgoing(
        server, "tools/call", name="t", arguments={"region": "东", "inner": {"n": 5}, "other": "x"}
    ).headers
    assert decode(headers["Mcp-Param-Region"]) == "东"
    assert headers["Mcp-Param-N"] == "5"
    assert len(headers) == 5
    assert len(outgoing(server, "tools/call", name="t", arguments={}).headers) == 3
    server.incoming(answer({"tools": [{"name": "t", "inputSchema": {}}]}), "tools/list")
    assert len(outgoing(server, "tools/call", name="t", arguments={"region": "x"}).headers) == 3
