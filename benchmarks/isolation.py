"""What other agents notice of a tool side that reads no more: the p99 of their calls, without and with it."""

import asyncio
from pathlib import Path
from statistics import median

from load import call_in_turn, hang_up, join, pairs_of
from options import Options
from relays import Relay, broker
from report import Table, figure, percentile, ratio
from support.peers import Agent, Device
from support.stalled import stalled

AGENTS, CALLS = 4, 150


async def call_in_vain(caller: Device) -> None:
    """Calls of the stalled tool side, as the others go on."""
    number = 0
    while True:
        await caller.begin_call("t", f"in vain {number}", text="x" * 1000)
        await caller.settled()
        number += 1
        await asyncio.sleep(0.005)


async def beside_a_stalled_one(relay: Relay, rounds: int) -> tuple[list[float], list[float]]:
    """The p99 of each round before and after a tool side stalled, seconds."""
    assert relay.broker is not None
    programs, callers = pairs_of(relay, AGENTS)
    await join(relay, programs, callers)

    async def p99() -> float:
        return percentile(await call_in_turn(callers, CALLS), 0.99)

    await p99()
    quiet = [await p99() for _ in range(rounds)]
    victim = Agent(relay.broker, "victim")
    async with stalled(victim) as caller:
        in_vain = asyncio.create_task(call_in_vain(caller))
        beside = [await p99() for _ in range(rounds)]
        (link,) = await victim.links("tool")
        assert link["pending"] > 60, "it was stalled all the time"
        in_vain.cancel()
        await asyncio.gather(in_vain, return_exceptions=True)
    hang_up([*programs, *callers])
    return quiet, beside


def measure(options: Options, folder: Path) -> list[Table]:
    """Four agents, and a fifth one whose tool side reads nothing more."""
    with broker(folder, send_timeout=60, send_buffer="1MB", call_timeout=60, max_calls=100_000) as relay:
        quiet, beside = options.run(beside_a_stalled_one(relay, options.rounds))
    table = Table(
        f"p99 of {AGENTS} agents beside a tool side that reads no more",
        ["p99 without, ms", "p99 with, ms", "ratio"],
    )
    table.add(figure(median(quiet) * 1000, 2), figure(median(beside) * 1000, 2), ratio(beside, quiet))
    return [table]
