"""Long work: a call that is answered "accepted", goes on, is asked for, and ends where its agent hears of it."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from support.brokers import Brokers
from support.peers import Agent, Broker, Device, Frame, said
from support.sdks import client as sdk_client
from support.servers.opened import SLOW, kitchen, write
from support.sockets import PATIENCE
from support.tasks import client


@pytest.fixture
def broker(opening: Brokers) -> Broker:
    return opening({"answer_within": 0.2, "max_running": 2, "language": "en"}, kitchen=kitchen())


async def begun(device: Device, **arguments: object) -> str:
    """The number of a job that a call has become."""
    answer = await device.call("cook", dish="soup", **arguments)
    number = answer["result"]["structuredContent"]["job_id"]
    assert said(answer) == f"It has begun, as job {number}; ask for the result later."
    assert isinstance(number, str)
    return number


async def asked(device: Device, tool: str, number: str) -> tuple[str, Any]:
    answer = await device.call(tool, job_id=number)
    return said(answer), answer["result"].get("structuredContent")


async def told(device: Device) -> Any:
    """What the client is told of a job that ended."""
    while True:
        frame = await device.frame()
        if frame.get("method") == "notifications/message":
            return frame["params"]["data"]


async def test_a_call_becomes_a_job_that_reports_is_asked_for_and_tells_its_end(broker: Broker) -> None:
    async with broker.agent().device() as device:
        assert await device.names() == ["cook", "finish", "quick", "fail"]
        number = await begun(device)
        jobs = ["job_status", "job_result", "job_cancel"]
        assert await device.names() == [*jobs, "cook", "finish", "quick", "fail"]
        text, facts = await asked(device, "job_status", number)
        assert text == f"Job {number} (cook) is running, after 1 s: 1/4 chopping."
        assert facts["status"] == "running"
        text, _ = await asked(device, "job_result", number)
        assert "is running" in text
        assert said(await device.call("finish")) == "ok"
        data = await told(device)
        assert (data["job_id"], data["status"]) == (number, "done")
        assert said(await device.call("job_result", job_id=number)) == "soup"
        assert said(await device.call("job_status")).startswith(f"Job {number} (cook) is done")


async def test_a_call_that_is_quick_stays_a_call(broker: Broker) -> None:
    async with broker.agent().device() as device:
        await device.names()
        await device.begin_call("cook", 1)
        assert said(await device.call("finish")) == "ok"
        answer = await device.reply(1)
        assert said(answer) == "soup"
        assert answer["result"]["meta"].keys() == {"progressToken"}, "who calls is none of its business"
        assert await device.names() == ["cook", "finish", "quick", "fail"]


@pytest.mark.parametrize(("how", "why"), [("error", "burnt"), ("isError", "soup"), ("exit", "the program ended")])
async def test_a_job_that_fails_says_why(broker: Broker, how: str, why: str) -> None:
    async with broker.agent().device() as device:
        await device.names()
        number = await begun(device)
        await device.begin_call("finish", 1, how=how)
        data = await told(device)
        assert data["status"] == "failed"
        text, facts = await asked(device, "job_status", number)
        assert f"has failed, after 1 s: {why}" in text
        assert facts["why"].startswith(why)


async def test_a_job_is_cancelled_and_the_server_told(broker: Broker) -> None:
    async with broker.agent().device() as device:
        await device.names()
        number = await begun(device)
        text, _ = await asked(device, "job_cancel", number)
        assert "was cancelled" in text
        assert said(await device.call("finish")) == "ok"
        (report,) = (await broker.stats())["servers"]
        assert report["said"][1:] == ["cancelled"]


async def test_a_job_belongs_to_its_agent_alone(broker: Broker) -> None:
    one, two = broker.agent(), broker.agent()
    async with one.device() as first, two.device() as second:
        await first.names()
        number = await begun(first)
        assert "job_status" not in await second.names()
        other = await begun(second)
        text, _ = await asked(second, "job_status", number)
        assert text == f"There is no job {number}; there are: {other}."
        assert said(await second.call("finish")) == "ok"
        assert (await told(second))["job_id"] == other
        assert (await told(first))["job_id"] == number


async def test_no_more_jobs_than_an_agent_may_have(broker: Broker) -> None:
    async with broker.agent().device() as device:
        await device.names()
        await begun(device)
        await begun(device)
        answer = await device.call("cook")
        assert answer["result"]["isError"] is True
        assert said(answer) == "Too many jobs are running; try again later."


async def test_a_job_that_runs_at_the_end_fails_with_its_reason(opening: Brokers) -> None:
    broker = opening({"answer_within": 0.2, "language": "en"}, kitchen=kitchen())
    async with broker.agent().device() as device:
        await device.names()
        number = await begun(device)
        broker.terminate()
        data = await told(device)
        assert data["job_id"] == number
        assert "the broker is restarting" in data["text"]


async def test_a_job_has_a_longest_time(opening: Brokers) -> None:
    broker = opening({"answer_within": 0.1, "max_seconds": 1.5, "language": "zh"}, kitchen=kitchen())
    async with broker.agent().device() as device:
        await device.names()
        answer = await device.call("cook")
        number = answer["result"]["structuredContent"]["job_id"]
        assert said(answer) == f"已开始，任务编号 {number}，完成后可以问我结果。"
        data = await told(device)
        text = f"任务 {number}（cook）失败了，用时 ~ 秒：超过了 1.5 秒的上限。"
        assert re.sub(r"用时 \d+ 秒", "用时 ~ 秒", data["text"]) == text


async def test_jobs_of_one_agent_outlive_its_clients_and_are_bounded(opening: Brokers) -> None:
    broker = opening({"answer_within": 0.1, "max_kept": 2, "language": "en"}, kitchen=kitchen())
    agent: Agent = broker.agent()
    async with agent.device() as device:
        await device.names()
        first = await begun(device)
        assert said(await device.call("finish")) == "ok"
    async with agent.device() as device:
        await device.names()
        assert said(await device.call("job_result", job_id=first)) == "soup"
        others = []
        for _ in range(2):
            others.append(await begun(device))
            assert said(await device.call("finish")) == "ok"
        listed = (await device.call("job_status"))["result"]["structuredContent"]["jobs"]
        assert [job["job_id"] for job in listed] == others


async def test_a_job_goes_on_when_the_file_changes(opening: Brokers, tmp_path: Path) -> None:
    fifo = tmp_path / "pot"
    os.mkfifo(fifo)
    broker = opening({"answer_within": 0.1, "language": "en"}, kitchen=kitchen())
    async with broker.agent().device() as device:
        await device.names()
        number = await begun(device, fifo=str(fifo))
        write(tmp_path / "data", kitchen=kitchen(env={"NEW": "1"}))
        await broker.logged("server kitchen: serving", count=2)
        assert [one["state"] for one in (await broker.stats())["servers"]] == ["serving", "finishing"]
        other = await begun(device)
        text, _ = await asked(device, "job_status", number)
        assert text.startswith(f"Job {number} (cook) is running")
        assert said(await device.call("finish")) == "ok", "this is the new instance"
        assert (await told(device))["job_id"] == other
        await asyncio.to_thread(fifo.write_text, "a stew that took its time")
        data = await told(device)
        assert (data["job_id"], data["status"]) == (number, "done")
        assert said(await device.call("job_result", job_id=number)) == "a stew that took its time"
        async with asyncio.timeout(PATIENCE):
            while len((await broker.stats())["servers"]) == 2:
                continue


@pytest.mark.parametrize("way", ["removed", "disabled", "changed and removed", "killed", "shutdown"])
async def test_a_job_ends_with_its_server(opening: Brokers, tmp_path: Path, way: str) -> None:
    broker = opening({"answer_within": 0.1, "language": "en"}, kitchen=kitchen())
    async with broker.agent().device() as device:
        await device.names()
        number = await begun(device)
        if way == "removed":
            write(tmp_path / "data")
        elif way == "disabled":
            write(tmp_path / "data", kitchen=kitchen(disabled=True))
        else:
            write(tmp_path / "data", kitchen=kitchen(env={"NEW": "1"}))
            await broker.logged("server kitchen: serving", count=2)
            if way == "changed and removed":
                write(tmp_path / "data")
            elif way == "killed":
                finishing = (await broker.stats())["servers"][1]
                assert finishing["state"] == "finishing"
                (pid,) = (int(line.split()[-1]) for line in finishing["said"] if line.startswith("kitchen"))
                os.kill(pid, signal.SIGKILL)
            else:
                broker.terminate()
        data = await told(device)
        assert (data["job_id"], data["status"]) == (number, "failed")


async def test_what_a_server_started_ends_with_it_though_only_its_jobs_went_on(
    opening: Brokers, tmp_path: Path
) -> None:
    """It starts a child of its own and goes, while another instance serves already."""
    fifo, alive = tmp_path / "alive", "import signal, sys; print('x', file=open(sys.argv[1], 'w')); signal.pause()"
    os.mkfifo(fifo)
    leaves = f"""import os, signal, subprocess, sys
def leave(*_):
    subprocess.Popen([sys.executable, "-I", "-c", {alive!r}, {str(fifo)!r}])
    open({str(fifo)!r}).read(1)
    os._exit(5)
signal.signal(signal.SIGUSR1, leave)
{SLOW}"""
    made = kitchen(args=["-I", "-c", leaves])
    broker = opening({"answer_within": 0.1, "language": "en"}, kitchen=made)
    async with broker.agent().device() as device:
        await device.names()
        number = await begun(device)
        write(tmp_path / "data", kitchen=made | {"env": {"NEW": "1"}})
        await broker.logged("server kitchen: serving", count=2)
        (finishing,) = (one for one in (await broker.stats())["servers"] if one["state"] == "finishing")
        group = int(finishing["said"][0].split()[-1])
        os.kill(group, signal.SIGUSR1)
        assert (await told(device))["job_id"] == number
        async with asyncio.timeout(PATIENCE):
            while lives(group):
                await broker.stats()


def lives(group: int) -> bool:
    """Whether a process of that group does."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# --- the same for clients that know tasks (2025-11-25) ---


async def test_a_call_that_asks_for_a_task_is_a_job_at_once(broker: Broker) -> None:
    agent = broker.agent()
    async with client(agent) as device:
        listed = (await device.request("tools/list"))["result"]["tools"]
        assert {tool["name"]: tool.get("execution") for tool in listed} == {
            "cook": {"taskSupport": "optional"},
            "finish": None,
            "quick": None,
            "fail": None,
        }
        made = await as_task(device, progressToken="mine")
        assert made.items() >= {"status": "working", "ttl": (3600 + 3600) * 1000, "pollInterval": 2000}.items()
        while (frame := await device.frame())["method"] != "notifications/progress":
            assert frame["method"] == "notifications/tools/list_changed"  # the tools for its jobs are there now
        assert frame["params"] == {"progressToken": "mine", "progress": 1, "total": 4, "message": "chopping"}
        id_ = made["taskId"]
        told = (await device.request("tasks/get", {"taskId": id_}))["result"]
        assert (told["status"], told["statusMessage"]) == ("working", "1/4 chopping")
        text, _ = await asked(device, "job_status", id_)
        assert text == f"Job {id_} (cook) is running, after 1 s: 1/4 chopping."
        await device.send({"jsonrpc": "2.0", "id": "end", "method": "tasks/result", "params": {"taskId": id_}})
        assert said(await device.call("finish")) == "ok"
        result = (await device.reply("end"))["result"]
        assert result["content"] == [{"type": "text", "text": "soup"}]
        assert result["_meta"] == {"io.modelcontextprotocol/related-task": {"taskId": id_}}
        ended = [frame["params"] for frame in map(json.loads, device.unread) if "tasks/status" in frame["method"]]
        assert [(one["taskId"], one["status"]) for one in ended] == [(id_, "completed")]
        assert said(await device.request("tasks/result", {"taskId": id_})) == "soup", "asked again"
        assert (await device.request("tasks/cancel", {"taskId": id_}))["error"]["code"] == -32602


@pytest.mark.parametrize("how", ["error", "isError", "exit"])
async def test_a_task_that_fails_says_why(broker: Broker, how: str) -> None:
    async with client(broker.agent()) as device:
        await device.names()
        made = await as_task(device)
        await device.send(
            {"jsonrpc": "2.0", "id": "end", "method": "tasks/result", "params": {"taskId": made["taskId"]}}
        )
        await device.begin_call("finish", 1, how=how)
        answer = await device.reply("end")
        if how == "isError":
            assert answer["result"]["isError"] is True
        elif how == "error":
            assert answer["error"]["message"].endswith(": burnt.")
        else:
            assert answer["error"]["code"] == -32003
        while (told := await device.request("tasks/get", {"taskId": made["taskId"]})).get("error"):
            assert told["error"]["data"]["reason"] == "tool_side_offline"  # it is being started again
        assert told["result"]["status"] == "failed"


async def test_a_task_is_cancelled_and_the_server_told(broker: Broker) -> None:
    async with client(broker.agent()) as device:
        await device.names()
        made = await as_task(device)
        await device.send(
            {"jsonrpc": "2.0", "id": "end", "method": "tasks/result", "params": {"taskId": made["taskId"]}}
        )
        cancelled = (await device.request("tasks/cancel", {"taskId": made["taskId"]}))["result"]
        assert cancelled["status"] == "cancelled"
        assert (await device.reply("end"))["error"]["code"] == -32003
        assert said(await device.call("finish")) == "ok"
        (report,) = (await broker.stats())["servers"]
        assert report["said"][1:] == ["cancelled"]


async def test_no_more_tasks_than_an_agent_may_have_jobs(broker: Broker) -> None:
    async with client(broker.agent()) as device:
        await device.names()
        for _ in range(2):
            await as_task(device)
        answer = await device.request("tools/call", {"name": "cook", "arguments": {}, "task": {}})
        assert answer["error"] == {"code": -32002, "message": "Too many jobs are running; try again later."}


async def test_a_tool_that_is_quick_is_never_a_task(broker: Broker) -> None:
    async with client(broker.agent()) as device:
        await device.names()
        assert said(await device.request("tools/call", {"name": "quick", "arguments": {}, "task": {}})) == "ok"


async def test_a_python_function_and_the_sdk_that_calls_it_as_a_task(opening: Brokers, tmp_path: Path) -> None:
    module = tmp_path / "slow.py"
    module.write_text(
        "from mcp_endpoint.tools import tool\n"
        "@tool(background=True)\n"
        "async def brew(tea: str) -> str:\n"
        '    """Make tea."""\n'
        '    return f"{tea} is ready"\n',
        "utf-8",
    )
    broker = opening(mine={"python": str(module)})
    url = broker.url(broker.agent().path("mcp"), "http")
    assert await sdk_client("1.x", url, "brew") == {
        "version": "2025-11-25",
        "result": "green is ready",
        "status": "completed",
        "progress": [],  # the SDK forgets the token with the answer
    }


async def as_task(device: Device, **meta: object) -> Frame:
    """The task that a call of `cook` has become."""
    params = {"name": "cook", "arguments": {}, "task": {"ttl": 1000}} | ({"_meta": meta} if meta else {})
    task = (await device.request("tools/call", params))["result"]["task"]
    assert isinstance(task, dict)
    return task
