"""The official SDK's 1.x client over WebSocket, as a device; sdk/test_websocket.py runs it in .venv-mcp1.

Usage: sdk_client.py DEVICE_URL
"""

import asyncio
import json
import sys
import warnings

from mcp import ClientSession
from mcp.client.websocket import websocket_client


async def main(url: str) -> None:
    progress: list[object] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        progress.append([done, total, message])

    async with websocket_client(url) as (read, write), ClientSession(read, write) as session:
        opened = await session.initialize()
        await session.send_ping()
        listed = await session.list_tools()
        product = await session.call_tool("calculator", {"python_expression": "130000 * 130000"})
        refused = await session.call_tool("calculator", {"python_expression": "9**9**9"})
        counted = await session.call_tool("count", {"steps": 3}, progress_callback=on_progress)
        several = await asyncio.gather(
            *(session.call_tool("calculator", {"python_expression": f"{number}+1"}) for number in range(20))
        )
        try:
            await session.call_tool("nothing", {})
            unknown = None
        except Exception as error:  # noqa: BLE001  whatever it is, the test looks at it
            unknown = str(error)
    said = {
        "server": opened.serverInfo.name,
        "version": opened.protocolVersion,
        "tools": sorted(tool.name for tool in listed.tools),
        "product": product.content[0].text,
        "product failed": bool(product.isError),
        "refused": refused.content[0].text,
        "refused failed": refused.isError,
        "counted": counted.content[0].text,
        "progress": progress,
        "several": [one.content[0].text for one in several],
        "unknown": unknown,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.run(main(sys.argv[1]))
