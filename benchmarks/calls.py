"""What a relayed call costs (device → tool side → device), beside the other relays in turns."""

import asyncio
from collections import defaultdict
from pathlib import Path
from statistics import median

from load import Caller, hang_up, join, pairs_of
from options import Options
from relays import START, Relay, install_peers
from report import Table, figure, percentile, ratio

WARM_UP = 1.0


async def load(relay: Relay, options: Options) -> dict[str, float]:
    """Keep so many calls in flight for a while: CPU of the relay for each, and latencies, all in microseconds."""
    programs, callers = pairs_of(relay, options.agents, options.size)
    await join(relay, programs, callers)
    await asyncio.sleep(0.3)  # a relay without an answer to a subscription may need a moment for it
    for caller in callers:
        caller.begin(float("inf"), options.window)
    await asyncio.sleep(WARM_UP)
    for caller in callers:
        caller.took.clear()
    before = relay.cpu()
    await asyncio.sleep(options.seconds)
    spent, took = relay.cpu() - before, all_times(callers)
    for caller in callers:
        await caller.end()
    hang_up([*programs, *callers])
    return {
        "cpu": spent / len(took) * 1e6,
        "p50": percentile(took, 0.5) * 1e6,
        "p99": percentile(took, 0.99) * 1e6,
        "calls": len(took) / options.seconds,
    }


def all_times(callers: list[Caller]) -> list[float]:
    return [seconds for caller in callers for seconds in caller.took]


def measure(options: Options, folder: Path) -> list[Table]:
    """Each relay in each round, on the same load."""
    peers, notes = install_peers(options.peers)
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in ("broker", *peers)}
    for number in range(options.rounds):
        for name, figures in found.items():
            place = folder / f"{name}{number}"
            place.mkdir()
            with START[name](place) as relay:
                for key, value in options.run(load(relay, options)).items():
                    figures[key].append(value)
    table = Table(
        f"Per call, {options.agents} agents × {options.window} in flight, {options.size} bytes of padding",
        ["relay", "CPU µs per call", "broker / peer", "p50 ms", "p99 ms", "broker / peer, p99", "calls per s"],
        notes=[*notes, f"Medians of {options.rounds} rounds in turns; the relay has one core, the load the other."],
    )
    ours = found["broker"]
    for name, figures in found.items():
        beside = name != "broker"
        table.add(
            name,
            figure(median(figures["cpu"])),
            ratio(ours["cpu"], figures["cpu"]) if beside else "",
            figure(median(figures["p50"]) / 1000, 2),
            figure(median(figures["p99"]) / 1000, 2),
            ratio(ours["p99"], figures["p99"]) if beside else "",
            figure(median(figures["calls"]), 0),
        )
    return [table]
