"""The official SDK clients, 1.x and 2.x, over Streamable HTTP, with real servers and a scripted one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from support.paths import PROGRAMS, ROOT
from support.peers import Broker, ToolSide, text_result
from support.sdks import PATIENCE, SDKS, anext_call, both_listed, client, nothing_left, piped


async def answer_texts(program: ToolSide) -> None:
    """Say what `text` is asked to, and nothing to `wait`."""
    while True:
        call = await program.next("tools/call")
        if call["params"]["name"] == "text":
            arguments = call["params"]["arguments"]
            await program.answer(call, text_result(arguments["letter"] * arguments["size"]))


@pytest.mark.parametrize("door", ["mcp", "call", "sse"])
@pytest.mark.parametrize("sdk", SDKS)
async def test_an_sdk_client_over_http(broker: Broker, sdk: str, door: str) -> None:
    agent = broker.agent()
    servers = (ROOT / "examples" / "calculator.py", PROGRAMS / "sdk_server.py")
    async with piped(agent, servers[0]), piped(agent, servers[1]):
        await both_listed(agent)
        async with agent.tool_side("text", "wait", server="scripted", calls=False) as program:
            answering = asyncio.create_task(answer_texts(program))
            said = await client(sdk, broker.url(agent.path(door), "http"), "whole")
            await program.next("notifications/cancelled")
            answering.cancel()
    assert said == {
        "version": "2025-11-25",
        "tools": ["calculator", "count", "text", "wait"],
        "product": "16900000000",
        "counted": "counted to 3",
        "progress": [1, 2, 3],
        "several": [str(number + 1) for number in range(20)],
        "texts": [True, True],
    }
    await nothing_left(agent)


@pytest.mark.parametrize("sdk", SDKS)
async def test_an_sdk_client_whose_connection_is_cut_resumes_and_gets_each_event_once(broker: Broker, sdk: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("wait", calls=False) as program, Cutter.run(broker) as cutter:
        calling = asyncio.create_task(client(sdk, f"http://127.0.0.1:{cutter.port}{agent.path('mcp')}", "cut"))
        call = await asyncio.wait_for(anext_call(program), PATIENCE)
        token = call["params"]["_meta"]["progressToken"]
        for done in range(1, 7):
            await program.notify("notifications/progress", progressToken=token, progress=done)
            if done == 3:
                # Once only: cut off while they resume, both SDKs ask again from where they did before.
                await cutter.passed(b'"progress":2')
                cutter.cut()
        await program.answer(call, text_result("done"))
        said = await calling
    assert said == {"version": "2025-11-25", "done": "done", "progress": [1, 2, 3, 4, 5, 6]}
    await nothing_left(agent)


class Cutter:
    """A TCP proxy in front of the broker that can cut what goes through it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._said = bytearray()
        self._more = asyncio.Event()
        self.port = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def run(cls, broker: Broker) -> AsyncIterator["Cutter"]:
        cutter = cls(broker)
        server = await asyncio.start_server(cutter._take, "127.0.0.1", 0)
        cutter.port = server.sockets[0].getsockname()[1]
        try:
            yield cutter
        finally:
            server.close()
            cutter.cut()
            await asyncio.gather(*cutter._tasks)

    async def passed(self, data: bytes) -> None:
        """Wait until a client was sent this."""
        async with asyncio.timeout(PATIENCE):
            while data not in self._said:
                self._more.clear()
                await self._more.wait()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._broker.host, self._broker.port)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._open.add(sink)
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
                self._said += data
                self._more.set()
        sink.close()
        self._open.discard(sink)
