"""Every kind of server that the broker opens × every trouble that it can be in, through the whole broker.

The tools of all others are listed in time and can be called, calls that wait end, `/stats` says why, and a server is
served again by itself once it is well. All kinds are in trouble at once, in one broker: that is worse, and quicker.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGSTOP
from typing import Any

import pytest
import pytest_asyncio

from support.brokers import Brokers
from support.peers import Agent, Broker, Device, Frame, said
from support.servers.opened import server, write
from support.servers.troubled import Functions, Peer, Program, Remote, Trouble, programs, remotes
from support.sockets import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOLS_WAIT = 0.5
START_TIMEOUT = 6.0
CALL_TIMEOUT = 3.0
MARGIN = PATIENCE
"""Seconds that whatever has a limit may take longer here."""
IN_PROCESS = ("api", "python")
"""Once they are read, these go on serving whatever becomes of a call."""
REASONS: dict[Trouble, dict[str, str]] = {
    Trouble.HANGS: {"": "no_handshake"},
    Trouble.PRINTS: {"program": "line_too_long", "": "not_mcp", "api": "bad_document", "python": "bad_module"},
    Trouble.LOOPS: {"program": "exited", "": "unreachable", "python": "bad_module"},
    Trouble.KILLED: {"program": "exited", "": "unreachable|connection_lost"},
    Trouble.LOCKED: {"": "unauthorized"},
}
"""Why a peer does not serve, by its name or by what it is."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes() -> AsyncIterator[list[Remote]]:
    """The servers behind URLs."""
    async with contextlib.AsyncExitStack() as stack:
        peers = remotes(stack)
        yield peers
    await asyncio.gather(*(peer.gate.shut() for peer in peers))


@pytest_asyncio.fixture(loop_scope="module")
async def listening(processes: list[Remote]) -> list[Remote]:
    """All of them, up and well whatever the last test did to them."""
    await asyncio.gather(*(peer.be_well() for peer in processes))
    return processes


def reason_of(trouble: Trouble, peer: Peer) -> str:
    reasons = REASONS[trouble]
    return reasons.get(peer.name) or reasons.get("program" if isinstance(peer, Program) else "") or reasons[""]


async def reports_of(broker: Broker) -> dict[str, Any]:
    return {one["name"]: one for one in (await broker.stats())["servers"]}


async def told(agent: Agent, trouble: Trouble, peers: Sequence[Peer]) -> None:
    """Log, `/stats` and the agent's own sentence say why they do not serve."""
    broker = agent.broker
    for peer in peers:
        await broker.logged(rf"server {peer.name}: .*\((?:{reason_of(trouble, peer)})\)")
    reports, why = await reports_of(broker), (await agent.report())["why"]
    for peer in peers:
        failure = reports[peer.name]["failure"]
        assert failure["reason"] in reason_of(trouble, peer).split("|"), peer.name
        assert f"{peer.name}, which the broker opens itself, does not serve: {failure['en']}" in why["en"]
        assert f"由本服务启动的 {peer.name} 不可用：{failure['zh']}" in why["zh"]


async def others_are_well(device: Device, peers: Sequence[Peer] = (), within: float = MARGIN) -> None:
    """A list comes in time, with `peers` if they were there before, and what is well can be called."""
    began = time.monotonic()
    assert sorted(await device.names()) == sorted(["good", *(peer.name for peer in peers)])
    assert said(await device.call("good"))
    assert time.monotonic() - began < within


async def well(broker: Broker, device: Device, peers: Sequence[Peer], count: int = 1) -> None:
    """They are listed, and answer, once they serve for the `count`th time."""
    for peer in peers:
        await broker.logged(f"server {peer.name}: serving", count=1 if peer.name in IN_PROCESS else count)
    assert sorted(await device.names()) == sorted(["good", *(peer.name for peer in peers)])
    for peer in peers:
        answer = await device.call(peer.name, **peer.arguments)
        assert not answer["result"].get("isError"), (peer.name, answer)


@pytest.mark.parametrize("trouble", [Trouble.SLOW, Trouble.HANGS, Trouble.PRINTS, Trouble.LOOPS], ids=str)
async def test_in_trouble_from_the_start(
    opening: Brokers, listening: list[Remote], tmp_path: Path, trouble: Trouble
) -> None:
    peers = [*programs(tmp_path)[:1], *listening, Functions(tmp_path)]
    await asyncio.gather(*(peer.begin(trouble) for peer in peers))
    start_timeout = START_TIMEOUT if trouble is Trouble.HANGS else 60
    entries = {peer.name: peer.entry(start_timeout=start_timeout) for peer in peers}
    broker = opening({"tools_wait": TOOLS_WAIT}, good=server("good"), **entries)
    agent = broker.agent()
    async with agent.device() as device:
        await others_are_well(device, within=TOOLS_WAIT + MARGIN)
        if trouble is not Trouble.SLOW:
            await told(agent, trouble, peers)
        if trouble is Trouble.LOOPS:
            await looping(broker, peers)
        await asyncio.gather(*(peer.mend(trouble) for peer in peers))
        if trouble is Trouble.LOOPS:  # whoever changes an entry need not wait for five minutes
            write(tmp_path / "data", good=server("good"), **{peer.name: peer.entry(timeout=20) for peer in peers})
            broker.process.send_signal(SIGHUP)
        await well(broker, device, peers)
        if trouble is Trouble.SLOW:
            assert {report["starts"] for report in (await reports_of(broker)).values()} == {1}
            assert any("notifications/tools/list_changed" in frame for frame in device.unread)
    await stop(broker)


async def stop(broker: Broker) -> None:
    """End it while the gates still pass on what it says to its servers, which they do in this loop."""
    assert await asyncio.to_thread(broker.stop) == 0


def retry_now(broker: Broker) -> None:
    """Have the broker start at once what waits, as it does when somebody has signed in to a server."""
    folder = broker.config.parent / ".mcp_tokens"
    folder.mkdir(exist_ok=True)
    os.utime(folder)


async def looping(broker: Broker, peers: Sequence[Peer]) -> None:
    """After five ends in a row all of them are tried seldom, and this is told."""
    for count in range(2, 6):
        retry_now(broker)
        for peer in peers:
            line = await broker.logged(f"server {peer.name}: .*; the next start is in", count=count)
            assert ("in 300 s" in line) == (count == 5)
    reports = await reports_of(broker)
    assert {reports[peer.name]["state"] for peer in peers} == {"looping"}


@pytest.mark.parametrize(
    "troubles", [(Trouble.HANGS, Trouble.KILLED), (Trouble.LOCKED,)], ids=["hangs, killed", "locked"]
)
async def test_in_trouble_while_calls_wait(
    opening: Brokers, listening: list[Remote], tmp_path: Path, troubles: tuple[Trouble, ...]
) -> None:
    functions = Functions(tmp_path)
    outside: list[Program | Remote] = [*listening]
    entries = {peer.name: peer.entry(gated=Trouble.LOCKED in troubles) for peer in listening}
    if Trouble.LOCKED not in troubles:
        outside += programs(tmp_path)
        entries |= {peer.name: peer.entry() for peer in outside if isinstance(peer, Program)}
    settings = {"tools_wait": 14, "call_timeout": CALL_TIMEOUT}
    broker = opening(settings, good=server("good"), python=functions.entry(), **entries)
    agent = broker.agent()
    async with agent.device() as device:
        await well(broker, device, [*outside, functions])
        if Trouble.HANGS in troubles:
            await hang(agent, device, outside, functions)
            await well(broker, device, [*outside, functions])
        await end(agent, device, outside, functions, troubles[-1])
        await well(broker, device, [*outside, functions], count=2)
    await stop(broker)


async def hang(agent: Agent, device: Device, outside: Sequence[Program | Remote], functions: Functions) -> None:
    """All of them hang in a call; it ends in time, and they are said not to answer until they do."""
    began = time.monotonic()
    await call_all(device, outside)
    await device.begin_call("python", "python", wait_at=str(functions.pipe.path))
    await others_are_well(device, [*outside, functions])
    for peer in [*outside, functions]:
        ended(peer, await device.reply(peer.name), Trouble.HANGS)
    assert time.monotonic() - began < CALL_TIMEOUT + MARGIN
    why = (await agent.report())["why"]["en"].lower()
    for peer in outside:
        assert (f"program {peer.name} is connected, but nothing was heard from" in why) == (peer.name != "api")
    await others_are_well(device, [*outside, functions])
    for peer in outside:
        peer.signal(SIGCONT)
    await functions.pipe.go_on()


async def end(
    agent: Agent, device: Device, outside: Sequence[Program | Remote], functions: Functions, trouble: Trouble
) -> None:
    """All of them end while calls wait: those end at once, and it is told why until they are well again."""
    await call_all(device, outside)
    began = time.monotonic()
    await asyncio.gather(*(peer.begin(trouble) for peer in outside))
    for peer in outside:
        ended(peer, await device.reply(peer.name), trouble)
    await others_are_well(device, [*outside, functions])
    assert time.monotonic() - began < MARGIN
    await told(agent, trouble, [peer for peer in outside if peer.name != "api"])
    if trouble is Trouble.LOCKED:
        for peer in outside:
            peer.signal(SIGCONT)
    await asyncio.gather(*(peer.mend(trouble) for peer in outside))


async def call_all(device: Device, peers: Sequence[Program | Remote]) -> None:
    """Call each of them, and have it not answer."""
    for peer in peers:
        peer.signal(SIGSTOP)
        await device.begin_call(peer.name, peer.name, **peer.arguments)
    await device.settled()


def ended(peer: Peer, answer: Frame, trouble: Trouble) -> None:
    """A call of it ended with an error that says what went wrong."""
    if peer.name == "api" and trouble is not Trouble.HANGS:
        assert answer["result"]["isError"] is True
        return
    error = answer["error"]
    reasons = ["call_timed_out"] if trouble is Trouble.HANGS else ["tool_side_lost", "connection_lost"]
    assert (error["code"], error["data"]["reason"] in reasons) == (-32003, True), (peer.name, error)


async def test_a_session_that_a_restarted_server_does_not_know_is_made_anew(
    opening: Brokers, listening: list[Remote]
) -> None:
    peer = listening[0]
    broker = opening(good=server("good"), http=peer.entry())
    async with broker.agent().device() as device:
        await well(broker, device, [peer])
        peer.signal(SIGSTOP)
        peer.gate.asked.clear()
        await device.begin_call("http", 1, **peer.arguments)
        async with asyncio.timeout(PATIENCE):
            await peer.gate.asked.wait()
        await peer.gate.hold()  # nobody finds out that it is away
        await peer.begin(Trouble.KILLED)
        await peer.mend(Trouble.KILLED)
        await peer.gate.open()
        ended(peer, await device.reply(1), Trouble.KILLED)
        await others_are_well(device, [peer])
        await well(broker, device, [peer])
        assert (await reports_of(broker))["http"]["starts"] == 1
    await stop(broker)
