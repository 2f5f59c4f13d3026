"""The two WebSocket doors: who is let in where, and what ends a connection (docs/protocol.md, 1 to 5)."""

import asyncio
import json
import resource
import sys
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus

from support.brokers import Brokers
from support.peers import Agent, Broker, device, dialled, parsed, said
from support.sockets import BINARY, CLOSE, CONT, PATIENCE, PING, PONG, TEXT, Wire, ws_frame

PING_FRAME = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
PONG_FRAME = b'{"jsonrpc":"2.0","id":1,"result":{}}'


# --- where the doors are ---


@pytest.mark.parametrize("prefix", ["/mcp_endpoint", "", "/a/b", "/call/x"])
@pytest.mark.parametrize("slash", ["/", ""])
async def test_doors_are_found_behind_any_prefix(broker: Broker, prefix: str, slash: str) -> None:
    agent = broker.agent()
    query = f"?token={quote(agent.token, safe='')}"
    async with dialled(broker.url(f"{prefix}/mcp{slash}{query}")) as tool:
        async with asyncio.timeout(PATIENCE):
            assert json.loads(await tool.recv())["method"] == "initialize"
        async with device(broker.url(f"{prefix}/call{slash}{query}")):
            assert [link["role"] for link in (await agent.report())["links"]] == ["tool", "device"]


@pytest.mark.parametrize("path", ["/", "/x", "/mcp/x", "/mcpx/", "/mcp_endpoint/", "/stats"])
async def test_there_is_no_door_elsewhere(broker: Broker, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with dialled(broker.url(f"{path}?token={quote(broker.agent().token)}")):
            pass
    assert refused.value.response.status_code == 404


async def test_the_device_door_never_greets(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        assert b" 101 " in await wire.upgrade(broker.agent().path("call"))
        wire.send_frame(PING, b"first")
        assert await wire.frame() == (PONG, b"first")


@pytest.mark.parametrize(
    ("offered", "selected"),
    [(None, None), ("mcp", "mcp"), ("other, mcp", "mcp"), ("other", None)],
)
@pytest.mark.parametrize("door", ["mcp", "call"])
async def test_the_mcp_subprotocol_is_selected_when_offered(
    broker: Broker, door: str, offered: str | None, selected: str | None
) -> None:
    async with Wire.open(broker) as wire:
        offer = [] if offered is None else [f"Sec-WebSocket-Protocol: {offered}"]
        head = (await wire.upgrade(broker.agent().path(door), *offer)).decode()
        assert head.startswith("HTTP/1.1 101 ")
        lines = [line for line in head.split("\r\n") if line.lower().startswith("sec-websocket-protocol")]
        assert lines == ([] if selected is None else [f"Sec-WebSocket-Protocol: {selected}"])


async def test_compression_is_not_taken_up(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        head = await wire.upgrade(broker.agent().path("call"), "Sec-WebSocket-Extensions: permessage-deflate")
        assert b" 101 " in head
        assert b"extensions" not in head.lower()


# --- who is let in ---


@pytest.mark.parametrize("door", ["mcp", "call"])
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "缺少token参数"),
        ("?token=", "缺少token参数"),
        ("?Token=x", "缺少token参数"),
        ("?token=abc", "token解密失败"),
        ("?token=%FF%00", "token解密失败"),
        ("?token=xTr7w9G0EcAbf8IorLoBiE5b9K%2BCwZtl2DlcrI/9XpX=", "token解密失败"),
        ("?token=" + "A" * 4000, "token解密失败"),
    ],
)
async def test_a_refusal_is_a_close_with_the_reason_clients_know(
    broker_with: Brokers, door: str, query: str, reason: str
) -> None:
    broker = broker_with(log_level="DEBUG")  # where the log has every refusal of one address
    async with Wire.open(broker) as wire:
        lines = len(broker.lines)
        assert b" 101 " in await wire.upgrade(f"/mcp_endpoint/{door}/{query}")
        opcode, payload = await wire.frame()
        assert (opcode, payload) == (CLOSE, (1008).to_bytes(2) + reason.encode())
        wire.send_frame(CLOSE, payload)
        assert await wire.rest() == b""
        await broker.logged(f"refused a {'tool' if door == 'mcp' else 'device'} side", since=lines)


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/call/?" + "&".join(["a=1"] * 100), "缺少token参数"),
        ("/call/?token=%", "token解密失败"),
        ("/call/?token=a;b=c&token=d", "token解密失败"),
        ("//[/call/?token=x", None),
        ("//host/call/?token=x", None),
        ("http://[/call/?token=x", None),
        ("/call/%00?token=x", None),
        ("/%FF/%/call?token=x", None),
    ],
)
async def test_an_odd_url_is_an_ordinary_refusal(broker: Broker, path: str, end: str | None) -> None:
    async with Wire.open(broker) as wire:
        answer = await wire.upgrade(path)
        if b" 101 " not in answer:
            assert answer.startswith(b"HTTP/1.1 4")
            assert end is None
        else:
            code, reason = await wire.close_frame()
            assert code == 1008
            assert reason == end or end is None
            wire.send_frame(CLOSE, b"")
        await wire.rest()


async def test_refused_peers_are_counted_and_no_link(broker: Broker) -> None:
    before = (await broker.stats())["refused_by_reason"].get("bad_token", 0)
    async with dialled(broker.url("/call/?token=x")) as refused:
        await asyncio.wait_for(refused.wait_closed(), PATIENCE)
        stats = await broker.stats()
        assert stats["refused_by_reason"]["bad_token"] == before + 1


@pytest.mark.parametrize("spelt", ["java", "python", "raw"])
async def test_a_token_is_taken_in_every_spelling_seen_in_urls(broker: Broker, spelt: str) -> None:
    agent = next(one for one in iter(broker.agent, None) if "+" in one.token and "/" in one.token)
    token = {"java": quote(agent.token, safe=""), "python": quote(agent.token), "raw": agent.token}[spelt]
    async with device(broker.url(f"/call/?token={token}")):
        assert len(await agent.links("device")) == 1


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://good.example.com", 101),
        (None, 101),
        ("https://bad.example.com", 403),
        ("null", 403),
    ],
)
async def test_a_foreign_origin_is_refused_before_the_upgrade(
    broker_with: Brokers, origin: str | None, status: int
) -> None:
    broker = broker_with(allowed_origins="https://good.example.com")
    async with Wire.open(broker) as wire:
        header = [] if origin is None else [f"Origin: {origin}"]
        head = await wire.upgrade(broker.agent().path("call"), *header)
        assert head.startswith(b"HTTP/1.1 %d " % status)


async def test_by_default_every_origin_is_let_in(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        assert b" 101 " in await wire.upgrade(broker.agent().path("call"), "Origin: https://anywhere.example.com")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the limits of another process")
async def test_as_many_connections_as_the_system_lets_it(new_broker: Brokers) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) - 1, hard))
    try:
        broker = new_broker()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


async def test_a_full_house_answers_503_and_stays_healthy(new_broker: Brokers) -> None:
    broker = new_broker(max_connections=2)
    agent = broker.agent()
    async with agent.tool_side("t"), agent.device() as first:
        for door in ("mcp", "call"):
            async with Wire.open(broker) as wire:
                assert b" 503 " in await wire.upgrade(agent.path(door))
                assert b"max_connections" in await wire.rest()
        assert (await broker.get("/health")).status == 200
        assert said(await first.call("t")) == "calc.t({})"
    await agent.ended("tool")
    await agent.ended("device")
    async with agent.device():
        pass


# --- frames that end a connection ---


async def upgraded(wire: Wire, agent: Agent) -> None:
    assert b" 101 " in await wire.upgrade(agent.path("call"))


BAD = "无效的UTF-8"


@pytest.mark.parametrize(
    ("frames", "code", "reason", "typed"),
    [
        ([(BINARY, b"{}", True)], 1003, "仅支持文本帧", "binary_frame"),
        ([(BINARY, b"{", False)], 1003, "仅支持文本帧", "binary_frame"),
        ([(TEXT, b'{"\xff":1}', True)], 1007, BAD, "bad_utf8"),
        ([(TEXT, b"\xed\xa0\x80", True)], 1007, BAD, "bad_utf8"),
        ([(TEXT, b"\xc0\xaf", True)], 1007, BAD, "bad_utf8"),
        ([(TEXT, b'"\xe4\xb8', False), (CONT, b'x"', True)], 1007, BAD, "bad_utf8"),
        ([(TEXT, b"a", False), (TEXT, b"b", True)], 1002, "协议错误", "protocol_error"),
        ([(CONT, b"a", True)], 1002, "协议错误", "protocol_error"),
        ([(3, b"a", True)], 1002, "协议错误", "protocol_error"),
        ([(PING, b"a" * 126, True)], 1002, "协议错误", "protocol_error"),
        ([(PING, b"a", False)], 1002, "协议错误", "protocol_error"),
        ([(CLOSE, b"\x03", True)], 1002, "协议错误", "protocol_error"),
        ([(CLOSE, b"\x03\xe8\xff", True)], 1007, BAD, "bad_utf8"),
        ([(TEXT, b"x" * 65_537, True)], 1009, "消息过大", "message_too_big"),
        ([(TEXT, b"x" * 40_000, False), (CONT, b"x" * 40_000, True)], 1009, "消息过大", "message_too_big"),
        ([(TEXT, b" ", False), *[(CONT, b" ", False)] * 1024], 1009, "分片过多", "too_many_fragments"),
    ],
    ids=lambda value: "frames" if isinstance(value, list) else None,
)
async def test_a_bad_frame_closes_with_its_code(
    broker_with: Brokers, frames: list[tuple[int, bytes, bool]], code: int, reason: str, typed: str
) -> None:
    agent = broker_with(max_message_size="64KB").agent()
    async with agent.tool_side("t") as tool, agent.device() as other, Wire.open(agent.broker) as wire:
        await upgraded(wire, agent)
        for opcode, payload, fin in frames:
            wire.send_frame(opcode, payload, fin=fin)
        assert await wire.close_frame() == (code, reason)
        wire.send_frame(CLOSE, code.to_bytes(2))
        assert await wire.rest() == b""
        ends = await agent.ended("device")
        assert [end["reason"] for end in ends] == [typed]
        assert said(await other.call("t")) == "calc.t({})", "the others go on"
        assert tool.waiting("tools/call") == 1


async def test_an_unmasked_frame_is_a_protocol_error(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        await upgraded(wire, broker.agent())
        wire.write(b"\x81\x02{}")
        assert await wire.close_frame() == (1002, "协议错误")


async def test_a_message_may_be_as_large_as_the_setting_says(broker_with: Brokers) -> None:
    agent = broker_with(max_message_size="64KB").agent()
    async with Wire.open(agent.broker) as wire:
        await upgraded(wire, agent)
        wire.send_frame(TEXT, PING_FRAME.ljust(65_536))
        assert await wire.frame() == (TEXT, PONG_FRAME)


async def test_by_default_four_megabytes_pass_and_one_byte_more_does_not(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        await upgraded(wire, broker.agent())
        wire.send_frame(TEXT, PING_FRAME.ljust(4 * 1_048_576))
        assert await wire.frame() == (TEXT, PONG_FRAME)
        wire.send_frame(TEXT, PING_FRAME.ljust(4 * 1_048_576 + 1))
        assert await wire.close_frame() == (1009, "消息过大")


async def test_what_was_wrong_with_a_frame_is_told_to_the_operator(broker_with: Brokers) -> None:
    agent = broker_with(max_message_size="64KB").agent()
    async with Wire.open(agent.broker) as wire:
        await upgraded(wire, agent)
        wire.send_frame(TEXT, b"x" * 65_537)
        assert await wire.close_frame() == (1009, "消息过大")
        assert await wire.rest() == b"", "and the connection ends at once"
    (end,) = await agent.ended("device")
    assert "65537 bytes exceeds" in end["detail"]
    assert "65537 bytes exceeds" in await agent.broker.logged(f"device side ended: agent {agent.id}")


async def test_a_close_reaches_a_peer_that_is_still_sending(broker_with: Brokers) -> None:
    agent = broker_with(max_message_size="64KB").agent()
    async with Wire.open(agent.broker, 4096) as wire:
        await upgraded(wire, agent)
        for _ in range(20):
            wire.send_frame(TEXT, b"x" * 400_000)
        assert await wire.close_frame() == (1009, "消息过大")


# --- what comes with the head, or is no handshake at all ---


@pytest.mark.parametrize("cut", [0, 1, 7, 30])
async def test_frames_in_one_piece_with_the_head_are_not_lost(broker: Broker, cut: int) -> None:
    """A client need not wait for the answer before its first frame."""
    request = handshake(broker.agent().path("call")) + ws_frame(TEXT, PING_FRAME) * 2
    async with Wire.open(broker) as wire:
        wire.write(request[: len(request) - cut])
        await wire.writer.drain()
        await asyncio.sleep(0)
        wire.write(request[len(request) - cut :])
        assert b" 101 " in await wire.head()
        for _ in range(2):
            assert await wire.frame() == (TEXT, PONG_FRAME)


async def test_what_follows_a_refused_head_harms_nothing(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        wire.write(handshake("/nowhere") + ws_frame(TEXT, PING_FRAME) * 100)
        assert b" 404 " in await wire.head()
        await wire.rest()


@pytest.mark.parametrize(
    ("old", "new", "status", "reason"),
    [
        ("GET", "POST", 405, "not_get"),
        ("GET", "PUT", 405, "not_get"),
        ("Host: x", "Host: x\r\nContent-Length: 100000", 400, "bad_handshake"),
        ("Host: x", "Host: x\r\nTransfer-Encoding: chunked", 400, "bad_handshake"),
        ("HTTP/1.1", "HTTP/1.0", 505, "old_http"),
    ],
)
async def test_what_only_looks_like_a_handshake_is_told_so(
    broker: Broker, old: str, new: str, status: int, reason: str
) -> None:
    before = (await broker.stats())["refused_by_reason"].get(reason, 0)
    async with Wire.open(broker) as wire:
        wire.write(handshake(broker.agent().path("call")).replace(old.encode(), new.encode(), 1))
        reply = await wire.reply()
        assert (reply.status, reply.body.count("\n")) == (status, 1)
        assert reply.headers.get("allow") == ("GET" if status == 405 else None)
        assert await wire.rest() == b""
    assert (await broker.stats())["refused_by_reason"][reason] == before + 1


async def test_an_empty_body_is_no_body(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        assert b" 101 " in await wire.upgrade(broker.agent().path("call"), "Content-Length: 0")


async def test_no_answer_of_a_page_lands_between_the_frames(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        wire.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + handshake(broker.agent().path("call")))
        assert b" 101 " not in await wire.rest()


async def test_another_protocol_on_offer_is_not_taken_up(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        offer = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        wire.write(offer + b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "healthy" in (await wire.reply()).body
        assert "tool_connections" in (await wire.reply()).body
    assert not any("Unsupported" in line for line in broker.lines)


def handshake(path: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


# --- fragments and pieces ---


async def test_fragments_are_joined_and_control_frames_between_them_answered(broker: Broker) -> None:
    frame = '{"jsonrpc":"2.0","id":"é😀","method":"ping"}'.encode()
    async with Wire.open(broker) as wire:
        await upgraded(wire, broker.agent())
        wire.send_frame(TEXT, b"", fin=False)
        for byte in frame:
            wire.send_frame(CONT, bytes([byte]), fin=False)
        wire.send_frame(PING, b"between")
        assert await wire.frame() == (PONG, b"between")
        wire.send_frame(CONT, b"", fin=True)
        assert await wire.frame() == (TEXT, '{"jsonrpc":"2.0","id":"é😀","result":{}}'.encode())


async def test_exactly_1024_fragments_pass(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        await upgraded(wire, broker.agent())
        wire.send_frame(TEXT, PING_FRAME, fin=False)
        for number in range(1023):
            wire.send_frame(CONT, b" ", fin=number == 1022)
        assert await wire.frame() == (TEXT, PONG_FRAME)


async def test_frames_in_any_pieces_of_the_stream(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        await upgraded(wire, broker.agent())
        stream = ws_frame(TEXT, PING_FRAME) * 3
        wire.write(stream[:1])
        await wire.writer.drain()
        wire.write(stream[1:60])
        await wire.writer.drain()
        wire.write(stream[60:])
        for _ in range(3):
            assert await wire.frame() == (TEXT, PONG_FRAME)


# --- peers that do not read ---


async def test_a_slow_reader_is_closed_and_the_others_go_on(broker_with: Brokers) -> None:
    agent = broker_with(send_buffer="64KB", send_timeout=0.3, max_message_size="4MB", close_timeout=0.3).agent()
    big = "x" * 200_000
    async with agent.tool_side("t") as tool, agent.device() as other, Wire.open(agent.broker, 4096) as wire:
        tool.say = lambda call: big if call["params"]["arguments"] else "small"  # type: ignore[method-assign]
        await upgraded(wire, agent)
        for number in range(40):
            call = {"name": "t", "arguments": {"n": number}}
            frame = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
            wire.send_frame(TEXT, json.dumps(frame).encode())
        ends = await agent.ended("device")
        assert [(end["role"], end["reason"], end["code"]) for end in ends] == [("device", "slow_reader", 1008)]
        assert said(await other.call("t")) == "small"
        assert (await agent.links("tool"))[0]["pending"] == 0


async def test_a_slow_reader_that_reads_on_in_time_is_kept(broker_with: Brokers) -> None:
    agent = broker_with(send_buffer="64KB", max_message_size="4MB").agent()
    async with agent.tool_side("t") as tool, Wire.open(agent.broker, 4096) as wire:
        tool.say = lambda call: "x" * 400_000  # type: ignore[method-assign]
        await upgraded(wire, agent)
        call = {"name": "t"}
        for number in range(4):
            frame = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
            wire.send_frame(TEXT, json.dumps(frame).encode())
        for _ in range(4):
            await tool.next("tools/call")
        await tool.settled()
        got = [parsed((await wire.frame())[1].decode()) for _ in range(4)]
        assert [len(said(answer)) for answer in got] == [400_000] * 4
        assert await agent.ends() == []


async def test_what_waits_for_a_peer_is_bounded(broker_with: Brokers) -> None:
    agent = broker_with(send_buffer="64KB", max_message_size="64KB", send_timeout=600).agent()
    async with agent.tool_side("t") as tool, Wire.open(agent.broker, 4096) as wire:
        tool.say = lambda call: "x" * 60_000  # type: ignore[method-assign]
        await upgraded(wire, agent)
        for number in range(100):
            call = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "t"}}
            wire.send_frame(TEXT, json.dumps(call).encode())
        ends = await agent.ended("device")
        assert [(end["role"], end["reason"]) for end in ends] == [("device", "send_overflow")]
        await wire.rest()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("//[x/mcp/?token=", 101),
        ("/mcp/?" + "a=1&" * 1500, 101),
        ("/mcp/?token=%ff%00%D8", 101),
        ("/%2fmcp%2f?token=", 101),
        ("/mcp%00/?token=", 404),
    ],
)
async def test_odd_urls_end_in_a_refusal(broker: Broker, path: str, status: int) -> None:
    async with Wire.open(broker) as wire:
        head = await wire.upgrade(path)
        assert head.startswith(b"HTTP/1.1 %d " % status)
        if status == 101:
            assert (await wire.close_frame())[0] == 1008
