"""The official SDK's 1.x client over WebSocket, as a device of several agents; it lists and calls `a` with each.

test_bad_definitions.py runs it in .venv-mcp1, with the URLs as lines on stdin, and reads its one line: for each URL the
names of the tools it was shown and what `a` said, or the error that it raised.
"""

import asyncio
import json
import sys
import warnings

from mcp import ClientSession
from mcp.client.websocket import websocket_client


async def seen(url: str) -> object:
    try:
        async with websocket_client(url) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            names = [tool.name for tool in (await session.list_tools()).tools]
            return [names, (await session.call_tool("a", {})).content[0].text]
    except BaseException as error:  # noqa: BLE001  whatever it is, the test shows it
        return repr(error)


async def main() -> None:
    print(json.dumps([await seen(line.strip()) for line in sys.stdin]))


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.run(main())
