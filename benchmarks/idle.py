"""What a link costs that does nothing: memory, processor time, and the time that all of them take to join."""

import asyncio
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import perf_counter

from load import hang_up, join, pairs_of
from options import Options
from relays import START, Relay, install_peers
from report import Table, figure, ratio

SETTLE = 2.0
"""Seconds after the last one joined, before they count as idle."""


async def links(relay: Relay, options: Options) -> dict[str, float]:
    programs, callers = pairs_of(relay, options.idle // 2)
    before, used, began = relay.resident(), relay.cpu(), perf_counter()
    await join(relay, programs, callers)
    joined, joining = perf_counter() - began, relay.cpu() - used
    await asyncio.sleep(SETTLE)
    resident, used = relay.resident() - before, relay.cpu()
    await asyncio.sleep(options.seconds)
    spent = relay.cpu() - used
    count = len(programs) + len(callers)
    lost = sum(link.lost for link in [*programs, *callers])
    assert not lost, f"{lost} of {count} links of {relay.name} were lost"
    hang_up([*programs, *callers])
    return {
        "memory": resident / count / 1000,
        "cpu": spent / options.seconds * 100,
        "joined": joined,
        "joining": joining / count * 1e6,
    }


def measure(options: Options, folder: Path) -> list[Table]:
    """Each relay with so many links, half of them tool sides."""
    peers, notes = install_peers(options.peers)
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in ("broker", *peers)}
    for name, figures in found.items():
        place = folder / name
        place.mkdir()
        with START[name](place) as relay:
            for key, value in options.run(links(relay, options)).items():
                figures[key].append(value)
    table = Table(
        f"{options.idle:,} idle links",
        ["relay", "KB each", "broker / peer", "CPU %", "all joined in s", "CPU µs each for it", "broker / peer"],
        notes=[
            *notes,
            "Half of them are tool sides: their handshake and their list of tools are in the broker's figures.",
        ],
    )
    ours = found["broker"]
    for name, figures in found.items():
        beside = name != "broker"
        table.add(
            name,
            figure(median(figures["memory"])),
            ratio(ours["memory"], figures["memory"]) if beside else "",
            figure(median(figures["cpu"])),
            figure(median(figures["joined"])),
            figure(median(figures["joining"]), 0),
            ratio(ours["joining"], figures["joining"]) if beside else "",
        )
    return [table]
