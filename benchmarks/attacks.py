"""What honest agents notice of one that abuses the broker: the p99 of their calls, without and with it, in turns."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from load import PATIENCE, Caller, call_in_turn, connect, hang_up, join, pairs_of
from options import Options
from relays import Relay, broker
from report import Table, figure, percentile, ratio
from support.light_links import LightProgram
from support.paths import PROGRAMS, TESTS
from support.peers import Agent
from support.servers.opened import flooding, write

HONEST, CALLS = 4, 150
AT_WORK = 300.0
"""Seconds that the abuser has to come a few steps further: it has only the time that nobody else wants."""
AIM = 2.0
"""The p99 of honest agents may be at most so many times as long."""

ABUSES: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "calls": ("call", True, {}),
    "pings": ("call", True, {}),
    "junk": ("call", True, {}),
    "large": ("call", True, {}),
    "members": ("call", True, {}),
    "huge": ("call", False, {}),
    "unfinished": ("call", False, {"max_unfinished": "4MB"}),
    "posts": ("mcp", True, {}),
    "batches": ("mcp", True, {}),
    "bodies": ("mcp", True, {}),
    "lists": ("mcp", False, {}),
    "definitions": ("mcp", False, {}),
    "connections": ("", False, {"max_handshakes": 50}),
    "tokens": ("?token=bad", False, {"handshakes_per_minute": 60, "trusted_proxies": "127.0.0.1"}),
}
"""How the program abuses it → the door, whether its agent has a tool side, settings."""
SERVERS = {"frames of a server": {"chunks": 300, "errors": 0}, "stderr of a server": {"chunks": 0, "errors": 15}}
"""What a server says that the broker opened, in the course of one call."""


@contextlib.asynccontextmanager
async def abusing(how: str, relay: Relay, path: str) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """A program abuses the broker during the block; what is yielded returns whenever it came a few steps further.

    It gives way to everybody, so that what the others notice is what the broker makes of it.
    """
    words = (how, relay.host, str(relay.port), path, "X-Forwarded-For: 192.0.2.66")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAMS / "abuse.py"), *words),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    )
    os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
    assert process.stdout is not None
    try:
        yield process.stdout.readline
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        async with asyncio.timeout(PATIENCE):
            await process.communicate()


class Silent(LightProgram):
    """A tool side that answers no call."""

    def got(self, frame: bytes) -> None:
        if b'"tools/call"' not in frame[:200]:
            super().got(frame)


async def p99(callers: list[Caller]) -> float:
    return percentile(await call_in_turn(callers, CALLS), 0.99)


async def under_abuse(relay: Relay, how: str, rounds: int) -> tuple[list[float], list[float]]:
    """The p99 of each round without and with the abuse, seconds."""
    door, has_tools, _ = ABUSES[how]
    assert relay.broker is not None
    programs, callers = pairs_of(relay, HONEST)
    await join(relay, programs, callers)
    attacker = Agent(relay.broker, "attacker")
    quiet, abused = [], []
    if has_tools:
        its_own = (Silent if how == "calls" else LightProgram)(attacker.path("mcp"))
        await connect(relay, [its_own])
        programs.append(its_own)
    path = attacker.path(door) if door in ("call", "mcp") else f"/call/{door}"
    await p99(callers)
    for _ in range(rounds):
        quiet.append(await p99(callers))
        async with abusing(how, relay, path) as progress, asyncio.timeout(AT_WORK):
            assert await progress(), "the attacker gave up"
            while True:  # until it was at work meanwhile
                steps = asyncio.ensure_future(progress())
                seconds = await p99(callers)
                if steps.done():
                    assert steps.result(), "the attacker gave up"
                    abused.append(seconds)
                    break
                await steps
    hang_up([*programs, *callers])
    return quiet, abused


async def beside_a_server(relay: Relay, flood: dict[str, int], rounds: int) -> tuple[list[float], list[float]]:
    """The same beside a server that the broker opened itself, whose tool says a great deal."""
    assert relay.broker is not None
    quiet, abused = [], []
    async with Agent(relay.broker, "attacker").device("XiaozhiMCPEndpointClient") as attacker:
        assert await attacker.names() == ["flood"]
        programs, callers = pairs_of(relay, HONEST)
        await join(relay, programs, callers)
        await p99(callers)
        for number in range(rounds):
            quiet.append(await p99(callers))
            await attacker.begin_call("flood", number, **flood)
            abused.append(await p99(callers))
            async with asyncio.timeout(PATIENCE):
                assert "result" in await attacker.reply(number)
            attacker.unread.clear()
        hang_up([*programs, *callers])
    return quiet, abused


def measure(options: Options, folder: Path) -> list[Table]:
    """Every abuse, on a broker of its own."""
    table = Table(
        f"p99 of {HONEST} honest agents under abuse by another one",
        ["abuse", "p99 without, ms", "p99 with, ms", f"ratio (aim: at most {AIM:.0f})"],
        notes=[f"Medians of {options.rounds} rounds of {HONEST} × {CALLS} calls, without and with it in turns."],
    )

    def add(name: str, quiet: list[float], abused: list[float]) -> None:
        table.add(name, figure(median(quiet) * 1000, 2), figure(median(abused) * 1000, 2), ratio(abused, quiet))

    for how, (_, _, settings) in ABUSES.items():
        (folder / how).mkdir()
        with broker(folder / how, **settings) as relay:
            add(how, *options.run(under_abuse(relay, how, options.rounds)))
    for name, flood in SERVERS.items():
        place = folder / name
        place.mkdir()
        write(place, flood=flooding())
        with broker(place, call_timeout=60) as relay:
            add(name, *options.run(beside_a_server(relay, flood, options.rounds)))
    return [table]
