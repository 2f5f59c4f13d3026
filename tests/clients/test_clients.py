"""The device client, the calculator and the demo: real sockets, real processes."""

import ast
import asyncio
import contextlib
import io
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedOK

from mcp_endpoint.clients.device import DeviceError, call_tool, list_tools, result_texts, run_call, run_tools
from mcp_endpoint.clients.endpoint import UnusableURL, endpoint
from mcp_endpoint.clients.pipe.report import Report
from mcp_endpoint.clients.pipe.stdio import pipe
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Language
from support.languages import no_chinese, no_pair
from support.paths import ROOT
from support.sockets import PATIENCE

HOME = ROOT
sys.path.insert(0, str(HOME / "examples"))

from calculator import FUNCTIONS, Refused, calculate  # noqa: E402

TOKEN = "xTr7w9G0EcAbf8IorLoBiE5b9K%2BCwZtl2DlcrI%2F9XpY%3D"
INITIALIZE = (
    '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2024-11-05", "capabilities": '
    '{"roots": {"listChanged": true}, "sampling": {}}, "clientInfo": {"name": "XiaozhiMCPEndpointClient", '
    '"version": "1.0.0"}}}'
)
INITIALIZED = '{"jsonrpc": "2.0", "method": "notifications/initialized", "params": {}}'
LIST = '{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}'

Script = Callable[[ServerConnection], Awaitable[None]]


@contextlib.asynccontextmanager
async def playing(script: Script) -> AsyncIterator[str]:
    """A server that plays `script` with each connection; gives the device URL. What the script raised is raised."""
    faults: list[BaseException] = []

    async def handle(connection: ServerConnection) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await script(connection)
        except ConnectionClosedOK:
            pass  # the device had heard enough
        except BaseException as fault:
            faults.append(fault)
            raise

    async with serve(handle, "127.0.0.1", 0, close_timeout=1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/mcp_endpoint/call/?token={TOKEN}"
    if faults:
        raise faults[0]


async def greet(connection: ServerConnection, *tools: dict[str, Any]) -> None:
    """The answers to the three frames of a device."""
    assert [await connection.recv() for _ in range(3)] == [INITIALIZE, INITIALIZED, LIST]
    await connection.send('{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2024-11-05"}}')
    await connection.send(json.dumps({"jsonrpc": "2.0", "id": 2, "result": {"tools": tools}}))


def calls(answer: str, tool: str = "add") -> Script:
    """A script that answers one call with `answer`."""

    async def script(connection: ServerConnection) -> None:
        await greet(connection)
        frame = json.loads(await connection.recv())
        assert (frame["id"], frame["params"]["name"]) == (1, tool)
        await connection.send(answer)
        await connection.wait_closed()

    return script


async def test_the_frames_are_those_of_the_xiaozhi_server() -> None:
    async def script(connection: ServerConnection) -> None:
        assert connection.subprotocol is None
        assert [await connection.recv() for _ in range(3)] == [INITIALIZE, INITIALIZED, LIST], "before any answer"
        for noise in ("not json", "[]", "{}", '{"id":2,"method":"ping"}', '{"id":true,"result":{"tools":[1]}}'):
            await connection.send(noise)
        await connection.send('{"jsonrpc":"2.0","id":"1","result":{}}')
        await connection.send('{"jsonrpc":"2.0","id":1,"result":{}}')
        await connection.send('{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"a"},3],"nextCursor":"中"}}')
        assert await connection.recv() == (
            '{"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"cursor": "\\u4e2d"}}'
        )
        await connection.send('{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"b"}]}}')
        assert await connection.recv() == (
            '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", '
            '"params": {"name": "b", "arguments": {"x": "\\u00e9"}}}'
        )
        await connection.send('{"jsonrpc":"2.0","id":2,"result":{"tools":[]}}')
        await connection.send('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
        await connection.send('{"jsonrpc":"2.0","id":1,"result":{"content":[],"kept":1.50}}')
        await connection.wait_closed()

    async with playing(script) as url:
        assert await call_tool(url, "b", {"x": "é"}) == {"content": [], "kept": 1.5}


async def test_tools_of_all_pages_come_back() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send('{"id":1,"result":{}}')
        pages = iter(['"x"', '"y"', '""'])
        async for text in connection:
            frame = json.loads(text)
            if frame.get("id") == 2:
                name = frame.get("params", {}).get("cursor", "first")
                await connection.send(
                    f'{{"id":2,"result":{{"tools":[{{"name":"{name}"}}],"nextCursor":{next(pages)}}}}}'
                )

    async with playing(script) as url:
        listed = await list_tools(url)
    assert [tool["name"] for tool in listed] == ["first", "x", "y"]


async def test_endless_pages_end() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send('{"id":1,"result":{}}')
        async for text in connection:
            if json.loads(text).get("id") == 2:
                await connection.send('{"id":2,"result":{"tools":[],"nextCursor":"again"}}')

    async with playing(script) as url:
        with pytest.raises(DeviceError, match="more than 64 pages"):
            await list_tools(url)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            '{"id":1,"error":{"code":-32001,"message":"工具端未连接","data":{"details":"since 5 s","reason":"x"}}}',
            r"^工具端未连接 \(-32001\): since 5 s$",
        ),
        ('{"id":1,"error":{"code":-32602,"message":"no\\u001b[31m","data":[1]}}', r"^no\\x1b\[31m \(-32602\): \[1\]$"),
        ('{"id":null,"error":{"code":-32700,"message":"Parse error"}}', "Parse error"),
        ('{"id":1,"error":"bad"}', '"bad"'),
        ('{"id":1,"result":null}', "holds no result"),
        ('{"id":1}', "holds no result"),
    ],
)
async def test_errors_are_told_in_words(answer: str, words: str) -> None:
    async with playing(calls(answer)) as url:
        with pytest.raises(DeviceError, match=words):
            await call_tool(url, "add", {})


async def test_silence_is_bounded() -> None:
    async with playing(lambda connection: connection.wait_closed()) as url:
        with pytest.raises(DeviceError, match=r"No answer to initialize within 0\.05 s"):
            await list_tools(url, within=0.05)


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1008, "token解密失败", "the token is not one of this server"),
        (1008, "缺少token参数", "no token in the URL"),
        (1012, "服务重启", "1012 服务重启"),
    ],
)
async def test_a_refusal_is_one_clear_sentence(code: int, reason: str, words: str) -> None:
    async with playing(lambda connection: connection.close(code, reason)) as url:
        with pytest.raises(DeviceError, match=words):
            await list_tools(url)


async def test_no_server_and_no_websocket_server_are_told_apart() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}/call/?token={TOKEN}"
        with pytest.raises(DeviceError, match="connection refused") as caught:
            await list_tools(url)
        assert TOKEN not in str(caught.value)

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"SSH-2.0-x\r\n")
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        with pytest.raises(DeviceError, match="no WebSocket server"):
            await list_tools(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/call/?token={TOKEN}")


@pytest.mark.parametrize(
    ("pasted", "door", "url", "noted"),
    [
        ("ws://h:1/mcp_endpoint/mcp/?token=T", "mcp", "ws://h:1/mcp_endpoint/mcp/?token=T", False),
        ("ws://h:1/mcp_endpoint/mcp/?token=T", "call", "ws://h:1/mcp_endpoint/call/?token=T", True),
        ("wss://h/x/call?token=T&a=b", "mcp", "wss://h/x/mcp?token=T&a=b", True),
        ("https://h/mcp_endpoint/call/?token=T", "call", "wss://h/mcp_endpoint/call/?token=T", False),
        ("wss://mcp.example.org/call/me?token=T", "mcp", "wss://mcp.example.org/call/me?token=T", False),
        (' "ws://h/mcp/?token=a+b/c=#x" ', "mcp", "ws://h/mcp/?token=a+b/c=", False),
    ],
)
def test_pasted_urls(pasted: str, door: Any, url: str, noted: bool) -> None:
    where = endpoint(pasted, door)
    assert where.url == url
    assert bool(where.notes) is noted
    assert "token" not in where.shown


def test_what_is_shown_of_a_url_is_no_secret() -> None:
    where = endpoint(f"ws://user:password@[::1]:8004/mcp/?token={TOKEN}&server_id=home", "mcp")
    assert where.shown == "ws://[::1]:8004/mcp/"
    assert where.quote(f"at home: {TOKEN}\n") == "at home: ***\\n"
    assert TOKEN not in repr(where)
    for bad in ("", "h:8004", "ws://", "ws://[::1", "ws://h:x/", "file:///x"):
        with pytest.raises(UnusableURL, match=r"^The endpoint URL is wrong: ") as caught:
            endpoint(f"{bad}?token={TOKEN}", "mcp")
        assert caught.value.told.zh.startswith("接入点地址有误：")
        assert TOKEN not in "".join(caught.value.told)


async def command(
    *arguments: Any, environ: dict[str, str] | None = None, language: Language = "en"
) -> tuple[int, str, str]:
    """Run one of the commands as the command line does, outside of this loop: exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    run, *rest = arguments
    code = await asyncio.to_thread(run, *rest, environ or {}, Terminal(language, out, err))
    return code, out.getvalue(), err.getvalue()


async def test_the_command_tools_prints_a_line_per_tool() -> None:
    async def script(connection: ServerConnection) -> None:
        await greet(connection, {"name": "add", "description": "\nAdds \x1b[1mtwo\nnumbers"}, {"name": "bare"})
        await connection.wait_closed()

    async with playing(script) as url:
        assert await command(run_tools, url) == (0, "add\tAdds \\x1b[1mtwo\nbare\n", "")
        code, out, err = await command(run_tools, None, environ={"MCP_ENDPOINT": url.replace("/call/", "/mcp/")})
    assert (code, out.count("\n")) == (0, 2)
    assert "using the device URL" in err


async def test_the_command_tools_says_when_there_are_none() -> None:
    async def script(connection: ServerConnection) -> None:
        await greet(connection)
        await connection.wait_closed()

    async with playing(script) as url:
        code, out, err = await command(run_tools, url)
    assert (code, out) == (0, "")
    assert "There are no tools" in err


async def test_the_command_call_prints_texts_and_other_content_as_json() -> None:
    content = [{"type": "text", "text": "one\ttwo\r\nthree\x1b[2J\ud800"}, {"type": "image", "data": "é"}]
    async with playing(calls(json.dumps({"id": 1, "result": {"content": content}}))) as url:
        code, out, err = await command(run_call, url, "add", '{"a": 1}')
    assert (code, err) == (0, "")
    assert out == 'one\ttwo\nthree\\x1b[2J\\ud800\n{"type": "image", "data": "é"}\n'


async def test_the_command_call_fails_with_the_tools_own_words() -> None:
    failed = '{"id":1,"result":{"isError":true,"content":[{"type":"text","text":"no such city"}]}}'
    async with playing(calls(failed)) as url:
        assert await command(run_call, url, "add", "") == (1, "", "no such city\n")
    refused = '{"id":1,"error":{"code":-32001,"message":"m","data":{"details":"d"}}}'
    async with playing(calls(refused)) as url:
        assert await command(run_call, url, "add", "{}") == (1, "", "m (-32001): d\n")


@pytest.mark.parametrize(
    ("arguments", "code", "zh", "en"),
    [
        ((run_tools, None), 2, "没有给出接入点地址", "No endpoint URL"),
        ((run_tools, "localhost"), 2, "应以 ws:// 或 wss:// 开头", "must start with ws://"),
        ((run_call, None, "t", "{}"), 2, "没有给出接入点地址", "No endpoint URL"),
        ((run_call, "ws://127.0.0.1:1/call/", "t", "[1]"), 2, "JSON 对象", "one JSON object"),
        ((run_call, "ws://127.0.0.1:1/call/", "t", "{"), 2, "JSON 对象", "one JSON object"),
        ((run_call, "ws://127.0.0.1:1/call/", "t", "{}"), 1, "连接被拒绝", "connection refused"),
        ((run_tools, "ws://127.0.0.1:1/call/"), 1, "连接被拒绝", "connection refused"),
    ],
)
async def test_commands_that_cannot_work_say_why(arguments: Any, code: int, zh: str, en: str) -> None:
    got, out, err = await command(*arguments)
    assert (got, out) == (code, "")
    assert en in err
    assert err.count("\n") == 1
    assert no_chinese(err)
    got, out, err = await command(*arguments, language="zh")
    assert (got, out) == (code, "")
    assert zh in err
    assert err.count("\n") == 1
    assert no_pair(err)


def test_an_output_without_chinese_prints_all_the_same() -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    assert run_tools(None, {}, Terminal("zh", narrow, narrow)) == 2
    narrow.flush()
    assert isinstance(narrow.buffer, io.BytesIO)
    assert b"\\u6ca1" in narrow.buffer.getvalue()


def test_results_without_content_are_json() -> None:
    assert result_texts({"content": [], "structuredContent": {"a": "中"}}) == [
        '{"content": [], "structuredContent": {"a": "中"}}'
    ]
    assert result_texts({"content": [3, {"type": "text"}]}) == ["3", '{"type": "text"}']


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("130000 * 130000", "16900000000"),
        ("7*6", "42"),
        (" -(2 + 3) * 4 // 3 % 5 ", "3"),
        ("2**10 - +1", "1023"),
        ("2**-1", "0.5"),
        ("(-1)**99999999999", "-1"),
        ("math.sqrt(16) + sin(0) + math.pi - pi", "4.0"),
        ("max(1, 2, 3) + min(4) + abs(-5) + round(2.567, 2)", "14.57"),
        ("factorial(20)", "2432902008176640000"),
        ("10**1000 // 10**999", "10"),
    ],
)
def test_the_calculator(expression: str, result: str) -> None:
    assert str(calculate(expression)) == result


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("9**9**9", "too large"),
        ("9**9**9**9", "too large"),
        ("pow(9, 99999999)", "too large"),
        ("2**4000", "too large"),
        ("2**-99999999", "too large"),
        ("1e308 * 10", "too large"),
        ("exp(1000)", "too large"),
        ("10**1000 * 1.0", "too large"),
        ("factorial(401)", "up to 400"),
        ("factorial(5.5)", "up to 400"),
        ("round(1, -99999999)", "up to 100"),
        ("1/0", "Division by zero"),
        ("sqrt(-1)", "math domain error"),
        ("(-8)**0.5", "not a real number"),
        ("2^3", "as \\*\\*"),
        ("sin()", "takes exactly one argument"),
        ("x", "x is not supported"),
        ("__import__('os').system('true')", "not supported"),
        ("(1).__class__", "not supported"),
        ("'a' * 999", "not supported"),
        ("True", "not supported"),
        ("1j", "not supported"),
        ("[1 for _ in (1,)]", "not supported"),
        ("1 if 1 else 2", "not supported"),
        ("max(1, key=2)", "not supported"),
        ("max(*(1, 2))", "not supported"),
        ("os.pi", "not supported"),
        ("-" * 61 + "1", "too deeply"),
        ("(" * 300 + "1" + ")" * 300, "not a valid"),
        ("1 +", "not a valid"),
        ("", "not a valid"),
        ("1\0", "not a valid|cannot be calculated"),
        ("1" * 1001, "longer than 1000"),
    ],
)
def test_the_calculator_refuses(expression: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        calculate(expression)


@given(
    st.recursive(
        st.integers(0, 99).map(str),
        lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*"]), inner),
        max_leaves=12,
    )
)
def test_the_calculator_agrees_with_python(expression: str) -> None:
    assert calculate(expression) == eval(expression)


TERMS = st.sampled_from(["9", "0.5", "-3", "1e300", "pi", "x", "(", ")", "**", "*", "//", "%", ",", *FUNCTIONS])


@given(st.lists(TERMS, max_size=40).map("".join) | st.text(max_size=40))
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_no_expression_hangs_or_fails_in_another_way(expression: str) -> None:
    try:
        value = calculate(expression)
    except Refused:
        return
    assert isinstance(value, int | float)
    assert len(str(value)) < 1300
    assert ast.parse(expression.strip(), mode="eval")


async def test_the_calculator_serves_through_the_bridge() -> None:
    answers: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def script(connection: ServerConnection) -> None:
        async def ask(id_: int, method: str, **params: Any) -> dict[str, Any]:
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}))
            answer = json.loads(await connection.recv())
            assert answer["id"] == id_
            found = answer["result"]
            assert isinstance(found, dict)
            return found

        about = {"name": "test", "version": "0"}
        server = await ask(1, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=about)
        await connection.send('{"jsonrpc":"2.0","method":"notifications/initialized"}')
        tools = await ask(2, "tools/list")
        good = await ask(3, "tools/call", name="calculator", arguments={"python_expression": "130000 * 130000"})
        bad = await ask(4, "tools/call", name="calculator", arguments={"python_expression": "9**9**9"})
        answers.set_result({"server": server, "tools": tools["tools"], "good": good, "bad": bad})
        await connection.wait_closed()

    async with playing(script) as url:
        calculator = [sys.executable, str(HOME / "examples" / "calculator.py")]
        bridge = asyncio.create_task(pipe(url, calculator, environ=dict(os.environ), report=Report("en")))
        async with asyncio.timeout(PATIENCE):
            got = await answers
        bridge.cancel()
        await asyncio.wait({bridge}, timeout=PATIENCE)
        assert bridge.cancelled()
    assert got["server"]["serverInfo"]["name"] == "Calculator"
    (tool,) = got["tools"]
    assert tool["name"] == "calculator"
    assert list(tool["inputSchema"]["properties"]) == ["python_expression"]
    assert got["good"]["content"] == [{"type": "text", "text": "16900000000"}]
    assert got["bad"]["isError"] is True
    assert "结果太大" in got["bad"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("expression", "code", "last"),
    [("7*6", 0, "7*6 = 42"), ("", 0, "130000 * 130000 = 16900000000"), ("1/0", 1, "Division by zero")],
)
async def test_the_demo(expression: str, code: int, last: str) -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOME / "examples" / "demo.py"),
        env=os.environ | {"EXPR": expression, "PYTHONUTF8": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await demo.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            demo.terminate()
    assert demo.returncode == code, out.decode() + err.decode()
    assert last in (out if code == 0 else err).decode().splitlines()[-1]
    assert b"Traceback" not in out + err
    assert b"token=" not in out + err
    if code == 0:
        value = last.rpartition(" ")[2]
        assert f'"text":"{value}"' in out.decode().replace('": "', '":"'), "the value is that of the frame"
