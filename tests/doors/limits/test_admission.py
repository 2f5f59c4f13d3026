"""Who may come in: addresses behind proxies, limits on them and on connections, fair service, memory of refusals."""

import asyncio
from collections import Counter
from ipaddress import ip_network
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.doors.limits.addresses import ClientAddress, behind, client_address
from mcp_endpoint.doors.limits.admission import Admission
from mcp_endpoint.doors.limits.fairness import FRAMES, Fairness, Share
from mcp_endpoint.doors.limits.refused_addresses import LINES_A_MINUTE, SOURCES_KEPT, Refusals
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.settings.schema import SecuritySettings
from support.brokers import Brokers
from support.peers import said
from support.sockets import CLOSE, CONT, PATIENCE, PING, PONG, TEXT, Wire, ws_frame

PROXIES = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1"), ip_network("fd00::/8"))
PROXY = client_address(("10.0.0.1", 5), PROXIES)

# --- addresses ---


@pytest.mark.parametrize(
    ("host", "shown", "source", "limited", "proxy"),
    [
        ("192.0.2.7", "192.0.2.7:5", "192.0.2.7", True, False),
        ("127.0.0.2", "127.0.0.2:5", "127.0.0.2", False, False),
        ("127.0.0.1", "127.0.0.1:5", "127.0.0.1", False, True),
        ("10.1.2.3", "10.1.2.3:5", "10.1.2.3", True, True),
        ("2001:db8::7", "[2001:db8::7]:5", "2001:db8::/64", True, False),
        ("::1", "[::1]:5", "::/64", False, False),
        ("::ffff:192.0.2.7", "192.0.2.7:5", "192.0.2.7", True, False),
        ("fe80::1%eth0", "[fe80::1]:5", "fe80::/64", True, False),
    ],
)
def test_a_sockets_own_address(host: str, shown: str, source: str, limited: bool, proxy: bool) -> None:
    assert client_address((host, 5), PROXIES) == ClientAddress(shown, source, limited, proxy)


def test_a_socket_without_an_address_is_nobody() -> None:
    assert client_address(None, PROXIES).shown == client_address("/run/x.sock", PROXIES).shown == "?"


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"x-forwarded-for": "192.0.2.7"}, "192.0.2.7"),
        ({"x-forwarded-for": "1.1.1.1, 192.0.2.7"}, "192.0.2.7"),
        ({"x-forwarded-for": "1.1.1.1, 192.0.2.7, 10.9.9.9 , 10.0.0.2"}, "192.0.2.7"),
        ({"x-forwarded-for": "127.0.0.1"}, "127.0.0.1"),
        ({"x-forwarded-for": "10.0.0.3, 10.0.0.2"}, "10.0.0.3"),
        ({"x-forwarded-for": "192.0.2.7:4711"}, "192.0.2.7"),
        ({"x-forwarded-for": "[2001:db8::7]:4711"}, "2001:db8::7"),
        ({"x-forwarded-for": "unknown"}, PROXY.shown),
        ({"x-forwarded-for": "192.0.2.7, unknown, 10.0.0.2"}, "10.0.0.2"),
        ({"x-forwarded-for": ""}, PROXY.shown),
        ({}, PROXY.shown),
        ({"forwarded": "for=192.0.2.7;proto=https"}, "192.0.2.7"),
        ({"forwarded": 'for=1.1.1.1, By=x;For="[2001:db8::7]:4711"'}, "2001:db8::7"),
        ({"forwarded": "for=_hidden"}, PROXY.shown),
        ({"forwarded": "for=1.1.1.1", "x-forwarded-for": "192.0.2.7"}, "192.0.2.7"),
    ],
)
def test_whom_a_proxy_speaks_for(headers: dict[str, str], shown: str) -> None:
    who = behind(PROXY, [(name.encode(), value.encode()) for name, value in headers.items()], PROXIES)
    assert who.shown == shown
    assert not who.proxy


def test_several_headers_are_one_list() -> None:
    lines = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"192.0.2.7")]
    assert behind(PROXY, lines, PROXIES).shown == "192.0.2.7"


@given(st.text(st.characters(max_codepoint=255), max_size=40), st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_no_header_breaks_it(value: str, name: str) -> None:
    assert behind(PROXY, [(name.encode(), value.encode("latin-1"))], PROXIES).source


# --- limits ---


class Socket:
    def __init__(self, address: str) -> None:
        self.address = client_address((address, 1), PROXIES)
        self.cut = 0

    def abort(self) -> None:
        self.cut += 1


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def admission(clock: Clock, **limits: int) -> Admission:
    settings = SecuritySettings(**limits)  # type: ignore[arg-type]
    return Admission(lambda: settings, clock)


def test_the_oldest_unauthenticated_connection_goes_and_a_link_is_none() -> None:
    gate = admission(Clock(), max_handshakes=2)
    first, second, third, fourth = (Socket(f"192.0.2.{number}") for number in range(4))
    gate.enter(first)
    gate.enter(second)
    gate.leave(first)
    gate.enter(third)
    assert (first.cut, second.cut) == (0, 0)
    gate.enter(fourth)
    assert (second.cut, third.cut, fourth.cut, gate.unauthenticated) == (1, 0, 0, 2)
    assert gate.refusals.by_reason == {"pushed_out": 1}
    gate.leave(second)
    gate.leave(third)
    gate.leave(fourth)
    assert gate.unauthenticated == 0


def test_connections_are_counted_by_address_but_not_those_of_this_machine_or_of_a_proxy() -> None:
    gate = admission(Clock(), max_connections_per_address=2)
    one, other = (client_address((host, 1), PROXIES) for host in ("192.0.2.7", "192.0.2.8"))
    assert [gate.count(one) for _ in range(3)] == [True, True, False]
    assert gate.count(other)
    for free in ("127.0.0.1", "127.0.0.2", "10.0.0.1"):
        assert all(gate.count(client_address((free, 1), PROXIES)) for _ in range(10))
    for _ in range(3):
        gate.uncount(one)
    gate.uncount(other)
    gate.uncount(client_address(("10.0.0.1", 1), PROXIES))
    assert gate.sources == 0
    assert gate.count(one)


def test_an_ipv6_network_is_one_address() -> None:
    gate = admission(Clock(), max_connections_per_address=1)
    assert gate.count(client_address(("2001:db8::1", 1), PROXIES))
    assert not gate.count(client_address(("2001:db8::2", 1), PROXIES))
    assert gate.count(client_address(("2001:db8:0:1::1", 1), PROXIES))


def test_handshakes_run_out_and_come_back_with_time() -> None:
    clock = Clock()
    gate = admission(clock, handshakes_per_minute=6)
    who, other = (client_address((host, 1), PROXIES) for host in ("192.0.2.7", "192.0.2.8"))
    assert [gate.handshake(who) for _ in range(8)] == [True] * 6 + [False] * 2
    assert gate.handshake(other)
    clock.now += 10
    assert [gate.handshake(who) for _ in range(2)] == [True, False]
    clock.now += 3600
    assert sum(gate.handshake(who) for _ in range(20)) == 6


def test_a_refused_handshake_counts_for_eleven() -> None:
    clock = Clock()
    gate = admission(clock, handshakes_per_minute=60)
    who = client_address(("192.0.2.7", 1), PROXIES)
    tries = 0
    while gate.handshake(who):
        gate.refuse(who, End.BAD_TOKEN, penalty=True)
        tries += 1
    assert tries == 6
    clock.now += 5
    assert not gate.handshake(who), "for a while"
    clock.now += 60
    assert gate.handshake(who)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_this_machine_is_free_of_limits_and_zero_is_none(host: str) -> None:
    gate = admission(Clock(), handshakes_per_minute=1, max_connections_per_address=1)
    free = client_address((host, 1), ())
    assert all(gate.handshake(free) and gate.count(free) for _ in range(50))
    gate = admission(Clock(), handshakes_per_minute=0, max_connections_per_address=0)
    anybody = client_address(("192.0.2.7", 1), ())
    assert all(gate.handshake(anybody) and gate.count(anybody) for _ in range(50))


def test_addresses_are_forgotten_when_there_are_too_many() -> None:
    gate = admission(Clock(), handshakes_per_minute=1)
    for number in range(20_000):
        gate.handshake(ClientAddress("x", str(number), limited=True))
    assert len(gate._spent) == 10_000


# --- refusals ---


def test_the_log_is_told_at_powers_of_ten_and_once_a_minute() -> None:
    refusals = Refusals()
    told = [refusals.note("a", "bad_token", 5.0) for _ in range(1500)]
    assert [count for count in told if count] == [1, 10, 100, 1000]
    assert refusals.note("a", "bad_token", 64.9) == 0
    assert refusals.note("a", "bad_token", 65.0) == 1502
    assert refusals.note("a", "full", 65.0) == 1
    assert refusals.by_reason == {"bad_token": 1502, "full": 1}


def test_many_addresses_do_not_flood_the_log_and_are_forgotten_oldest_first() -> None:
    refusals = Refusals()
    told = [refusals.note(str(number), "bad_token", 5.0) for number in range(5000)]
    assert sum(told) == LINES_A_MINUTE
    refusals.note("4000", "full", 6.0)
    kept = refusals.report(str)
    assert len({one["address"] for one in kept}) == SOURCES_KEPT
    assert [[one[name] for name in ("address", "reason", "count", "since", "last")] for one in kept[:2]] == [
        ["4000", "bad_token", 1, "5.0", "5.0"],
        ["4000", "full", 1, "6.0", "6.0"],
    ]
    refusals.note("new", "full", 70.0)
    assert "4001" not in {one["address"] for one in refusals.report(str)}
    assert "4000" in {one["address"] for one in refusals.report(str)}


def test_every_reason_is_a_typed_one() -> None:
    reasons = Counter(one.reason for kind in (Refusal, End) for one in kind)
    assert max(reasons.values()) == 1


# --- fair service ---


class Busy:
    def __init__(self, name: str, frames: int, share: Share, fairness: Fairness, served: list[str]) -> None:
        self.name, self.frames, self.share, self.fairness, self.served = name, frames, share, fairness, served
        self.done = asyncio.Event()

    def go_on(self, now: float) -> None:
        some = min(self.frames, self.share.left)
        self.frames -= some
        self.share.left -= some
        self.served += [self.name] * some
        if self.frames:
            self.fairness.wait(self.share, self)
        else:
            self.done.set()


async def test_agents_take_turns_and_so_do_the_links_of_one() -> None:
    fairness, served = Fairness(asyncio.get_running_loop()), list[str]()
    shares = {agent: fairness.join(agent) for agent in ("a", "b")}
    links = [
        Busy("a1", 5 * FRAMES, shares["a"], fairness, served),
        Busy("a2", 2 * FRAMES, shares["a"], fairness, served),
        Busy("b", 2 * FRAMES, shares["b"], fairness, served),
    ]
    for link in links:
        fairness.wait(link.share, link)
    await asyncio.wait_for(asyncio.gather(*(link.done.wait() for link in links)), PATIENCE)
    assert served[::FRAMES] == ["a1", "b", "a2", "b", "a1", "a2", "a1", "a1", "a1"]
    for agent in ("a", "b"):
        fairness.leave(agent)
    assert len(fairness) == 0


async def test_a_share_with_links_that_wait_has_nothing_left_for_others() -> None:
    share = Fairness(asyncio.get_running_loop()).join("a")
    share.renew(1.0)
    assert share.left == FRAMES
    share.waiting.append(Busy("x", 1, share, Fairness(asyncio.get_running_loop()), []))
    share.renew(2.0)
    assert share.left == 0


async def test_a_thousand_frames_in_one_piece_are_all_answered_in_order(new_broker: Brokers) -> None:
    agent = new_broker().agent()
    async with Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("call"))
        ask = '{"jsonrpc":"2.0","id":%d,"method":"ping"}'
        wire.write(b"".join(ws_frame(TEXT, (ask % number).encode()) for number in range(5000)))
        wire.send_frame(CLOSE, (1000).to_bytes(2))
        for number in range(5000):
            assert await wire.frame() == (TEXT, b'{"jsonrpc":"2.0","id":%d,"result":{}}' % number)
        assert await wire.close_frame() == (1000, "")


# --- the doors ---


async def test_a_refused_peer_that_stays_is_cut_off_after_a_second_and_takes_no_place(new_broker: Brokers) -> None:
    broker = new_broker(max_connections=2, close_timeout=600)
    agent = broker.agent()
    async with Wire.open(broker) as one, Wire.open(broker) as two, Wire.open(broker) as three:
        began = monotonic()
        for wire in (one, two, three):
            assert b" 101 " in await wire.upgrade("/call/?token=bad")
            assert (await wire.close_frame())[0] == 1008
        async with agent.tool_side("t"), agent.device() as device:
            assert said(await device.call("t")) == "calc.t({})"
            unauthenticated = (await broker.stats())["census"]["strangers"]
            await device.settled()
            if not any(wire.reader.at_eof() for wire in (one, two, three)):  # else the second was over before we asked
                assert unauthenticated == 3 + 1, "and the one that asks"
        for wire in (one, two, three):
            await wire.rest()
        assert monotonic() - began > 0.9


async def test_too_many_handshakes_say_when_to_come_back(new_broker: Brokers) -> None:
    broker = new_broker(trusted_proxies="127.0.0.1", handshakes_per_minute=5)
    via = "X-Forwarded-For: 192.0.2.7"
    async with Wire.open(broker) as wire:
        await wire.upgrade("/call/?token=bad", via)
        assert (await wire.close_frame())[0] == 1008
    async with Wire.open(broker) as wire:
        head = await wire.upgrade(broker.agent().path("call"), via)
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nRetry-After: 30\r\n" in head
        assert b"handshakes_per_minute" in await wire.rest()
    reply = await broker.get("/health", X_Forwarded_For="192.0.2.7")
    assert reply.status == 200, "pages go on being served"
    refusals = (await broker.stats())["refusals"]
    assert [(one["address"], one["reason"], one["count"]) for one in refusals] == [
        ("192.0.2.7", "bad_token", 1),
        ("192.0.2.7", "too_many_handshakes", 1),
    ]
    assert "refusals" not in await broker.json("/stats"), "only with the key"


async def test_nobody_but_a_trusted_proxy_may_name_an_address(new_broker: Brokers) -> None:
    broker = new_broker(handshakes_per_minute=1)
    for _ in range(3):
        async with Wire.open(broker) as wire:
            assert b" 101 " in await wire.upgrade(broker.agent().path("call"), "X-Forwarded-For: 192.0.2.7")


@pytest.mark.parametrize("how", ["frame", "fragments", "pings between"])
async def test_a_message_that_trickles_in_has_a_deadline(broker_with: Brokers, how: str) -> None:
    agent = broker_with(message_timeout=0.5).agent()
    async with Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("call"))
        began = monotonic()
        message = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'.ljust(4000)
        pieces = [bytes([byte]) for byte in ws_frame(TEXT, message)]
        if how != "frame":
            pieces = [ws_frame(TEXT, message[:1], fin=False)]
            pieces += [ws_frame(CONT, message[place : place + 1], fin=False) for place in range(1, 900)]
        ended = asyncio.create_task(wire.close_frame() if how != "pings between" else wire.rest())
        for number, piece in enumerate(pieces):
            wire.write(piece + (ws_frame(PING, b"") if how == "pings between" and number % 5 == 4 else b""))
            if (await asyncio.wait({ended}, timeout=0.02))[0]:
                break
        assert 0.5 <= monotonic() - began < 30, "the default"
        answer = ended.result()
        assert answer == (1008, "消息接收超时") or (isinstance(answer, bytes) and bytes([0x80 | PONG, 0]) in answer)
    (end,) = await agent.ended("device")
    assert end["reason"] == "message_timeout"


async def test_long_messages_that_arrive_have_no_deadline_in_common(broker_with: Brokers) -> None:
    agent = broker_with(message_timeout=3).agent()
    async with Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("call"))
        message = ws_frame(TEXT, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'.ljust(300_000))
        began, stream = monotonic(), message
        while monotonic() - began < 4:  # each piece ends one message and begins the next
            wire.write(stream[:200_000])
            stream = stream[200_000:] + (message if len(stream) < 500_000 else b"")
            await wire.writer.drain()
            await asyncio.sleep(0.01)
        wire.write(stream)
        assert (await wire.frame())[0] == TEXT
    (end,) = await agent.ended("device")
    assert end["reason"] == "connection_lost"


async def test_half_messages_are_counted_by_agent_and_no_more_once_they_are_whole(new_broker: Brokers) -> None:
    broker = new_broker(max_unfinished="1MB", max_message_size="1MB")
    agent = broker.agent()
    message = ws_frame(TEXT, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'.ljust(600_000))
    async with Wire.open(broker) as one, Wire.open(broker) as two, Wire.open(broker) as other:
        await one.upgrade(agent.path("call"))
        await two.upgrade(agent.path("call"))
        await other.upgrade(broker.agent().path("call"))
        for _ in range(3):
            for wire in (one, two):
                wire.write(message[:-1])
                await wire.writer.drain()
                wire.write(message[-1:])
                assert (await wire.frame())[0] == TEXT
        for wire in (other, one, two):
            wire.write(message[:-1])
            await wire.writer.drain()
        first = {asyncio.create_task(wire.close_frame()): wire for wire in (one, two)}
        (closed,), (spared,) = await asyncio.wait(first, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert closed.result() == (1013, "未收完的消息过多")
        spared.cancel()
        await asyncio.wait({spared})
        for wire in (other, first[spared]):
            wire.write(message[-1:])
            assert (await wire.frame())[0] == TEXT


async def test_a_body_that_trickles_in_holds_nothing(new_broker: Brokers) -> None:
    async with Wire.open(new_broker(handshake_timeout=600, message_timeout=600)) as wire:
        wire.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx")
        assert (await wire.reply()).status == 404
        await wire.rest()
