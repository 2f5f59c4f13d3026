"""Everybody is cut off at once: how long it takes until all calls are answered again, beside the first time."""

import asyncio
from pathlib import Path
from statistics import median
from time import perf_counter

from load import Caller, connect, links_of
from options import Options
from relays import Relay, broker
from report import Table, figure, ratio

AGENTS = 1000
PATIENCE = 120.0
"""Seconds that all of them have to come back."""


async def wave(relay: Relay) -> float:
    """All tool sides and devices dial at the same moment; seconds until each device's call is answered."""
    pairs = [links_of(relay, number) for number in range(AGENTS)]
    links = [link for pair in pairs for link in pair]
    began = perf_counter()

    async def call(caller: Caller) -> None:
        await caller.ready.wait()
        caller.begin(1)
        await caller.answered()

    async with asyncio.timeout(PATIENCE):
        await connect(relay, links, at_once=len(links))
        await asyncio.gather(*(call(caller) for _, caller in pairs))
    took = perf_counter() - began
    for link in links:
        link.reset()
    return took


async def waves(relay: Relay, rounds: int) -> tuple[float, list[float]]:
    """Seconds of the first wave, and of those after everybody was cut off."""
    assert relay.broker is not None
    first = await wave(relay)
    return first, [await wave(relay) for _ in range(rounds)]


def measure(options: Options, folder: Path) -> list[Table]:
    """A thousand tool sides and devices, reset and back at once."""
    with broker(folder, offline_grace=0, tools_wait=0.5) as relay:
        first, again = options.run(waves(relay, options.rounds))
    table = Table(
        f"{AGENTS:,} tool sides and devices dial at once, and again when all were reset at once",
        ["first time, s", "again, s", "again / first time", "connections per s"],
        notes=[
            "From the first dial until every device has the answer of a call; the broker works off the ends meanwhile."
        ],
    )
    table.add(figure(first, 2), figure(median(again), 2), ratio(again, [first]), figure(2 * AGENTS / median(again), 0))
    return [table]
