"""Tool servers as child processes: real ones, and ones that behave badly."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from mcp_endpoint.providers.source import Stopped, StopReason
from mcp_endpoint.providers.transports.child_environ import child_environment
from mcp_endpoint.providers.transports.stdio import StdioSettings, StdioSource
from support.node import needs_node, npm_server
from support.paths import PROGRAMS
from support.peers import PATIENCE
from support.servers.sources import Talk, refusal, talking


def lives(pid: int) -> bool:
    """Whether a process is more than a dead one that nobody collects."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def python(code: str, **settings: object) -> StdioSource:
    return StdioSource(StdioSettings((sys.executable, "-u", "-c", code), **settings))  # type: ignore[arg-type]


@needs_node
async def test_server_everything() -> None:
    async with talking(StdioSource(StdioSettings((*npm_server("server-everything"), "stdio")))) as talk:
        assert (await talk.greet())["serverInfo"]["name"]
        assert "echo" in await talk.tools()
        assert "你好" in await talk.call("echo", message="你好")


@needs_node
async def test_server_filesystem(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("kept", "utf-8")
    command = (*npm_server("server-filesystem"), str(tmp_path))
    async with talking(StdioSource(StdioSettings(command))) as talk:
        await talk.greet()
        assert "kept" in await talk.call("read_text_file", path=str(tmp_path / "note.txt"))


async def test_a_server_from_pypi() -> None:
    command = (sys.executable, "-m", "mcp_server_time", "--local-timezone", "Asia/Shanghai")
    async with talking(StdioSource(StdioSettings(command))) as talk:
        await talk.greet()
        assert "convert_time" in await talk.tools()
        assert "Asia/Shanghai" in await talk.call("get_current_time", timezone="Asia/Shanghai")


async def test_a_server_of_the_sdk_that_prints_and_reports_progress() -> None:
    async with talking(StdioSource(StdioSettings((sys.executable, str(PROGRAMS / "sdk_server.py"))))) as talk:
        await talk.greet()
        number = talk.ask("tools/call", name="count", arguments={"steps": 2}, _meta={"progressToken": 9})
        assert (await talk.answer(number))["result"]["content"][0]["text"] == "counted to 2"
        progress = [frame["params"] for frame in talk.passed if frame.get("method") == "notifications/progress"]
        assert [step["progress"] for step in progress] == [1, 2]


async def test_frames_are_passed_on_as_the_bytes_they_came_in() -> None:
    lines = [b'{"a":1.0,  "b":"\\u4f60"}', b"no JSON at all", b"\xff\xfe", b"  { }  "]
    code = f"import sys; [sys.stdout.buffer.write(line + b'\\r\\n\\n') for line in {lines}]; sys.stdin.read()"
    async with talking(python(code)) as talk:
        assert [await talk.bytes() for _ in lines] == lines


async def test_a_frame_is_one_line_to_the_program() -> None:
    async with talking(python("import sys; [print(len(line)) for line in sys.stdin]")) as talk:
        talk.source.send(b'{\n"a":\r\n1}')
        assert await talk.bytes() == b"11"


async def test_the_environment_is_a_minimal_one() -> None:
    mine = {"PATH": "/p", "HOME": "/h", "LANG": "C", "SECRET": "s", "TERM": "() { :;}", "MCP_ENDPOINT": "ws://x"}
    there = {"PATH": "/p", "HOME": "/h", "LANG": "C", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    if sys.platform != "win32":
        assert child_environment({}, mine) == there
        assert child_environment({"LANG": "D", "KEY": "k"}, mine) == there | {"LANG": "D", "KEY": "k"}


async def test_env_and_cwd(tmp_path: Path) -> None:
    code = "import os; print(os.environ['KEY'], os.path.basename(os.getcwd()), 'SECRET' in os.environ); input()"
    settings = StdioSettings((sys.executable, "-u", "-c", code), {"KEY": "k"}, str(tmp_path))
    async with talking(StdioSource(settings, os.environ | {"SECRET": "x"})) as talk:
        assert await talk.bytes() == f"k {tmp_path.name} False".encode()


async def test_no_such_program(tmp_path: Path) -> None:
    assert await refusal(StdioSource(StdioSettings(("no-such-program",)))) is StopReason.NO_COMMAND
    assert await refusal(python("", cwd=str(tmp_path / "none"))) is StopReason.NOT_STARTED
    with pytest.raises(Stopped, match=r"there is no folder .*none \(cwd\)"):
        await python("", cwd=str(tmp_path / "none")).open(lambda _: None, lambda _: None)
    assert await refusal(python("\0")) is StopReason.NOT_STARTED


async def test_settings_show_no_secrets() -> None:
    settings = StdioSettings(("program", "--key=abc"), {"KEY": "def"})
    assert "abc" not in repr(settings)
    assert "def" not in repr(settings)


async def test_an_exit_tells_its_code_and_what_was_said() -> None:
    code = "import sys; print('last', flush=True); print('no\\tkey', file=sys.stderr); sys.exit(3)"
    async with talking(python(code)) as talk:
        end = await talk.end()
        assert (end.why, end.detail) == (StopReason.EXITED, "exit code 3")
        assert await talk.bytes() == b"last"
        assert talk.source.said == ["no\\tkey"]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
async def test_kill_9() -> None:
    source = python("import sys; print('up', flush=True); sys.stdin.read()")
    async with talking(source) as talk:
        await talk.bytes()
        assert source.pid is not None
        os.kill(source.pid, signal.SIGKILL)
        assert (await talk.end()).detail == "signal 9"


async def test_a_program_that_closes_its_stdout() -> None:
    async with talking(python("import os, time; os.close(1); time.sleep(600)")) as talk:
        assert (await talk.end()).detail == "it closed its stdout"


async def test_stderr_is_kept_redacted_and_cut() -> None:
    code = (
        "import os, sys\n"
        "for n in range(60): print('line', n, file=sys.stderr)\n"
        "print('x' * 9000, file=sys.stderr); print('\\x1b[2J', os.environ['API_KEY'], file=sys.stderr)\n"
        "sys.stderr.flush(); os._exit(0)"
    )
    async with talking(python(code, env={"API_KEY": "sesame-open-it"})) as talk:
        await talk.end()
        said = talk.source.said
    assert len(said) == 50
    assert said[-1] == "\\x1b[2J ***"
    assert said[-2] == "x" * 499 + "…"
    assert said[0] == "line 12"


async def test_a_line_over_the_limit_ends_it() -> None:
    async with talking(python("print('x' * 2000); input()", line_limit=1000)) as talk:
        assert (await talk.end()).why is StopReason.LINE_TOO_LONG


async def test_a_line_up_to_the_limit_is_a_frame() -> None:
    async with talking(python("print('x' * (1024 * 1024 - 10)); input()")) as talk:
        assert len(await talk.bytes()) == 1024 * 1024 - 10


async def test_a_program_that_does_not_read() -> None:
    async with talking(python("import time; time.sleep(600)", unread_bytes=300_000)) as talk:
        for _ in range(20):
            talk.source.send(b"x" * 100_000)
            await asyncio.sleep(0)
        assert (await talk.end()).why is StopReason.TOO_MUCH_UNREAD


async def test_a_hanging_program_with_descendants_is_ended(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    source = python(code)
    talk = Talk(source)
    await talk.open()
    grandchild = int(await talk.bytes())
    async with asyncio.timeout(PATIENCE):
        await source.close()
    assert not lives(grandchild)
    assert not talk.ended
