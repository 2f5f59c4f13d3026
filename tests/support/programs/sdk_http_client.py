"""The official SDK's client over HTTP, 1.x or 2.x as installed; sdk/test_http.py runs it and reads its line.

Usage: sdk_http_client.py URL whole|cut|asked|task|brew

The last two are for 1.x, the one that has the tasks of 2025-11-25.
"""

import asyncio
import contextlib
import json
import sys
import warnings
from typing import Any

import anyio
import mcp.types as types
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

progress: list[object] = []


async def on_progress(done: float, total: float | None, message: str | None) -> None:
    progress.append(done)


async def text(session: ClientSession, letter: str, size: int) -> str:
    result: Any = await session.call_tool("text", {"letter": letter, "size": size})
    return str(result.content[0].text)


async def give_up(session: ClientSession) -> None:
    """Cancel a call: 2.x says so by itself, 1.x has to be told to."""
    number = getattr(session, "_request_id", None)
    with anyio.move_on_after(0.5):
        await session.call_tool("wait", {})
    if isinstance(number, int):
        params = types.CancelledNotificationParams(requestId=number)
        cancelled = types.CancelledNotification(method="notifications/cancelled", params=params)
        await session.send_notification(types.ClientNotification(cancelled))


async def whole(session: ClientSession) -> dict[str, object]:
    listed = await session.list_tools()
    product: Any = await session.call_tool("calculator", {"python_expression": "130000 * 130000"})
    counted: Any = await session.call_tool("count", {"steps": 3}, progress_callback=on_progress)
    several = await asyncio.gather(
        *(session.call_tool("calculator", {"python_expression": f"{number}+1"}) for number in range(20))
    )
    await give_up(session)
    chinese, large = await text(session, "汉", 2000), await text(session, "x", 900_000)
    return {
        "tools": sorted(tool.name for tool in listed.tools),
        "product": product.content[0].text,
        "counted": counted.content[0].text,
        "several": [one.content[0].text for one in several],  # type: ignore[union-attr]
        "texts": [chinese == "汉" * 2000, large == "x" * 900_000],
    }


async def cut(session: ClientSession) -> dict[str, object]:
    """A call whose connection is cut in the middle."""
    done: Any = await session.call_tool("wait", {}, progress_callback=on_progress)
    return {"done": done.content[0].text}


async def task(session: Any) -> dict[str, object]:
    """A call that the server goes on with, and says so while it does."""
    tasks = session.experimental
    made = await tasks.call_tool_as_task("simulate-research-query", {"topic": "茶"})
    told = [status async for status in tasks.poll_task(made.task.taskId)]
    result = await tasks.get_task_result(made.task.taskId, types.CallToolResult)
    listed = await tasks.list_tasks()
    return {
        "statuses": sorted({status.status for status in told}),
        "result": "茶" in result.content[0].text,
        "listed": [
            (one.taskId == made.task.taskId, one.status) for one in listed.tasks if one.taskId == told[0].taskId
        ],
    }


async def brew(session: Any) -> dict[str, object]:
    """The same with a function that is quick about it."""
    tasks = session.experimental
    made = await tasks.call_tool_as_task("brew", {"tea": "green"})
    (*_, last) = [status async for status in tasks.poll_task(made.task.taskId)]
    result = await tasks.get_task_result(made.task.taskId, types.CallToolResult)
    return {"result": result.content[0].text, "status": last.status}


async def sampled(context: Any, params: Any) -> Any:
    text = types.TextContent(type="text", text="a poem")
    return types.CreateMessageResult(role="assistant", content=text, model="of the test")


async def elicited(context: Any, params: Any) -> Any:
    return types.ElicitResult(action="accept", content={"name": "小明"})


async def rooted(context: Any) -> Any:
    return types.ListRootsResult(roots=[types.Root(uri="file:///home/me/tea", name="tea")])


async def asked(session: ClientSession) -> dict[str, object]:
    """Tools that ask this client."""
    said = {}
    for tool, arguments in (
        ("trigger-sampling-request", {"prompt": "x"}),
        ("trigger-elicitation-request", {}),
        ("get-roots-list", {}),
    ):
        result: Any = await session.call_tool(tool, arguments)
        said[tool] = " ".join(block.text for block in result.content)
    return said


ABLE: dict[str, Any] = {
    "sampling_callback": sampled,
    "elicitation_callback": elicited,
    "list_roots_callback": rooted,
}
RUNS = {"asked": asked, "whole": whole, "cut": cut, "task": task, "brew": brew}


async def main(url: str, what: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        transport = sse_client(url) if "/sse/" in url else streamable_http_client(url)
        read, write, *_ = await stack.enter_async_context(transport)
        session = await stack.enter_async_context(ClientSession(read, write, **(ABLE if what == "asked" else {})))
        opened: Any = await session.initialize()
        said = await RUNS[what](session)
        said["version"] = getattr(opened, "protocolVersion", None) or opened.protocol_version
    print(json.dumps(said | {"progress": progress}))


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.run(main(*sys.argv[1:]))
