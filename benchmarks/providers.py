"""What the broker adds to a tool server that it opens: a call, and the list of many servers' tools."""

import asyncio
import json
import os
from pathlib import Path
from statistics import median
from time import perf_counter

from load import PATIENCE, Caller, call_in_turn
from options import Options
from relays import Relay, broker
from report import Table, figure, percentile, ratio
from support.peers import Agent
from support.servers.opened import server, write

CALLS, LISTS = 200, 20
SERVERS, TOOLS = 10, 20


class Direct:
    """The same program, spoken to over its own stdin and stdout."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._writer, self._reader = process.stdin, process.stdout

    async def calls(self) -> list[float]:
        """Seconds that each call took."""
        took = []
        for number in range(CALLS):
            params = {"name": "t", "arguments": {"pad": "x" * 200}}
            line = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
            began = perf_counter()
            self._writer.write(line.encode() + b"\n")
            async with asyncio.timeout(PATIENCE):
                answer = await self._reader.readline()
            took.append(perf_counter() - began)
            assert b'"result"' in answer
        return took


async def calls(relay: Relay, command: list[str], rounds: int) -> tuple[list[float], list[float]]:
    """The p50 of each round, directly and through the broker, seconds."""
    loop = asyncio.get_running_loop()
    caller = Caller(relay.path("device", 0))
    await loop.create_connection(lambda: caller, relay.host, relay.port)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, os.sched_getaffinity(relay.pid))  # as the broker's own child has it
    direct, through = [], []
    try:
        program = Direct(process)
        async with asyncio.timeout(PATIENCE):
            await caller.ready.wait()
        await program.calls()
        for _ in range(rounds):
            direct.append(percentile(await program.calls(), 0.5))
            through.append(percentile(await call_in_turn([caller], CALLS), 0.5))
    finally:
        process.kill()
        await process.wait()
    return direct, through


async def lists(relay: Relay, rounds: int) -> tuple[list[float], list[float]]:
    """The p50 of each round of `tools/list`, of one tool side with all tools and of ten servers, seconds."""
    assert relay.broker is not None
    one, many = Agent(relay.broker, "one"), Agent(relay.broker, "many")
    names = [f"tool_{number}" for number in range(SERVERS * TOOLS)]
    found: tuple[list[float], list[float]] = ([], [])
    async with one.tool_side(*names), one.device() as of_one, many.device() as of_many:
        for _ in range(rounds):
            for device, series in zip((of_one, of_many), found, strict=True):
                took = []
                for _ in range(LISTS):
                    began = perf_counter()
                    assert len(await device.names()) == SERVERS * TOOLS
                    took.append(perf_counter() - began)
                series.append(percentile(took, 0.5))
    return found


def measure(options: Options, folder: Path) -> list[Table]:
    """A program on stdio, and ten of them."""
    entry = server("t")
    for name in ("call", "list"):
        (folder / name).mkdir()
    write(folder / "call", one=entry)
    with broker(folder / "call") as relay:
        direct, through = options.run(calls(relay, [str(entry["command"]), *map(str, entry["args"])], options.rounds))  # type: ignore[call-overload]
    called = Table(
        "A call of a server on stdio, one in flight", ["directly, p50 ms", "through the broker", "ratio", "more, ms"]
    )
    more = median(through) - median(direct)
    called.add(
        figure(median(direct) * 1000, 2),
        figure(median(through) * 1000, 2),
        ratio(through, direct),
        figure(more * 1000, 2),
    )
    ten = {f"s{n}": server(*(f"tool_{n}_{m}" for m in range(TOOLS))) | {"agents": ["many"]} for n in range(SERVERS)}
    write(folder / "list", **ten)
    with broker(folder / "list") as relay:
        one, many = options.run(lists(relay, options.rounds))
    listed = Table(
        f"tools/list, {SERVERS * TOOLS} tools", ["of one tool side, p50 ms", f"of {SERVERS} servers", "ratio"]
    )
    listed.add(figure(median(one) * 1000, 2), figure(median(many) * 1000, 2), ratio(many, one))
    return [called, listed]
