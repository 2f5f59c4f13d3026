"""A client of the official Python SDK, 1.x or 2.x, that calls a tool, waits for a line, and calls it again.

test_sessions_over_a_restart.py restarts the broker meanwhile. Usage: sdk_restart_client.py URL
"""

import asyncio
import sys
from typing import Any

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main(url: str) -> None:
    transport: Any = streamable_http_client(url)
    async with transport as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        for number in range(2):
            if number:
                await asyncio.to_thread(sys.stdin.readline)
            result: Any = await session.call_tool("add", {})
            print(result.content[0].text, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
