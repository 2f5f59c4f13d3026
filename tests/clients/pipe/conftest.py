"""The two ends of a bridge, its log, and a line to its children."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from loguru import logger
from websockets.asyncio.server import serve
from websockets.typing import Subprotocol

from support.pipe import IN_URL, TOKEN, Lifelines, Log, StandIn


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    async with serve(
        stand_in.handle, "127.0.0.1", 0, subprotocols=[Subprotocol("mcp")], max_size=None, close_timeout=1
    ) as stand_in.server:
        yield stand_in


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    log = Log()
    sink = logger.add(log.take, level="TRACE", format="{message}")
    yield log
    logger.remove(sink)
    text = "\n".join(log.lines)
    assert TOKEN not in text
    assert IN_URL not in text


@pytest.fixture
async def lifelines() -> AsyncIterator[Lifelines]:
    lifelines = Lifelines()
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await lifelines.handle(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    lifelines.port = server.sockets[0].getsockname()[1]
    yield lifelines
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()
