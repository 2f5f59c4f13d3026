"""`servers login`: a person signs in once in a browser, here or elsewhere, and the running broker opens the server."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.providers.oauth.browser import read_callback
from support.brokers import Brokers
from support.paths import PROGRAMS, ROOT
from support.peers import said
from support.servers.http_peers import Served, free_port, process
from support.servers.opened import write
from support.sockets import PATIENCE


@contextlib.asynccontextmanager
async def locked(*more: str) -> AsyncIterator[Served]:
    port = free_port()
    command = (sys.executable, str(PROGRAMS / "sdk_oauth_server.py"), str(port), "3600", *more)
    async with process(*command, until="running on", port=port) as peer:
        yield peer


class Login:
    """The command, which has shown the address to be opened."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    async def until_shown(self) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while not (line := (await self.process.stdout.readline()).decode().strip()).startswith("http"):
                assert line, (await self.process.communicate())[1].decode()
        self.url = line

    async def browse(self) -> str:
        """Sign in with a browser that cannot come back: the address it is sent to."""
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as browser:
            answer = await browser.get(self.url)
            return answer.headers["location"]

    def paste(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    async def end(self) -> tuple[int | None, str]:
        async with asyncio.timeout(PATIENCE):
            out, err = await self.process.communicate()
        assert b"Traceback" not in err
        return self.process.returncode, (out + err).decode()


@contextlib.asynccontextmanager
async def logging_in(config: Path, name: str, *options: str) -> AsyncIterator[Login]:
    line = [str(ROOT / "main.py"), "--config", str(config), "servers", "login", name, *options]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
    environ["MCP_ENDPOINT_LANG"] = "en"
    running = await asyncio.create_subprocess_exec(
        sys.executable, *line, env=environ, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        yield Login(running)
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


def config_of(folder: Path, **servers: object) -> Path:
    config = folder / "mcp-endpoint-server.cfg"
    config.write_text("[server]\nkey = 0123456789abcdef0123456789abcdef\n", "utf-8")
    write(folder, **servers)
    return config


def forget_tokens(folder: Path) -> None:
    """What was signed in to is so no more; the client stays registered."""
    (kept,) = (folder / ".mcp_tokens").iterdir()
    kept.write_text(json.dumps({"client": json.loads(kept.read_text("utf-8"))["client"]}), "utf-8")


async def test_a_server_that_wants_to_be_signed_in_to(opening: Brokers) -> None:
    async with locked() as peer:
        broker = opening(locked={"url": f"{peer.url}/mcp"})
        async with broker.agent().device() as device:
            await broker.logged(r"server locked: .*\(unauthorized\)")
            async with logging_in(broker.config, "locked") as login:
                await login.until_shown()
                async with httpx.AsyncClient(follow_redirects=True, trust_env=False, timeout=PATIENCE) as browser:
                    assert "can be closed" in (await browser.get(login.url)).text
                code, out = await login.end()
            assert (code, "signed in" in out) == (0, True)
            await broker.logged("server locked: serving")
            assert "inside" in await device.names()
            assert said(await device.call("inside"))
    (kept,) = (broker.config.parent / ".mcp_tokens").iterdir()
    assert oct(kept.stat().st_mode & 0o777) == "0o600"


async def test_the_address_is_pasted_where_the_browser_is_elsewhere(tmp_path: Path) -> None:
    async with locked() as peer, logging_in(config_of(tmp_path, far={"url": f"{peer.url}/mcp"}), "far") as login:
        await login.until_shown()
        back = await login.browse()
        other = httpx.URL(back).copy_set_param("state", "of another sign-in")
        login.paste(f"\nwhat?\n{other}\n  '{back}'\r\n")
        code, out = await login.end()
    assert (code, out.count("not the address of this sign-in")) == (0, 2)
    assert back.startswith("http://127.0.0.1:")


async def test_a_port_that_cannot_be_used_is_told_in_a_line(tmp_path: Path) -> None:
    config = config_of(tmp_path, far={"url": "http://127.0.0.1:1/mcp"})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with logging_in(config, "far", "--port", str(taken.getsockname()[1])) as login:
            code, out = await login.end()
    assert code == 1
    assert "choose another as --port (" in out
    for wrong in ("99999", "0", "x", "-1"):
        async with logging_in(config, "far", f"--port={wrong}") as login:
            code, out = await login.end()
        assert (code, "a number from 1 to 65535" in out, len(out) < 400) == (2, True, True)


async def test_a_port_that_is_named(tmp_path: Path) -> None:
    port = free_port()
    config = config_of(tmp_path, far={"url": "http://x.invalid/mcp"})
    async with locked() as peer:
        write(tmp_path, far={"url": f"{peer.url}/mcp"})
        for _ in range(2):  # the second time with the client that was registered the first time
            async with logging_in(config, "far", "--port", str(port)) as login:
                await login.until_shown()
                assert (await login.browse()).startswith(f"http://127.0.0.1:{port}/callback?")
                login.paste(await login.browse())
                login.process.stdin.write_eof()  # type: ignore[union-attr]
                assert (await login.end())[0] == 0
            forget_tokens(tmp_path)
        async with logging_in(config, "far") as login:  # and with another one where that is not sent back to
            await login.until_shown()
            login.paste(await login.browse() + "\n")
            assert (await login.end())[0] == 0


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
async def test_a_client_of_the_entry(tmp_path: Path, method: str) -> None:
    async with locked("sesame", method) as peer:
        oauth = {"client_id": "known", "client_secret": "${NO_SUCH:-sesame\n}", "scope": "read write"}
        entry = {"url": f"{peer.url}/mcp", "oauth": oauth | {"redirect_uri": "http://localhost/back"}}
        async with logging_in(config_of(tmp_path, far=entry), "far", "--port", str(free_port())) as login:
            await login.until_shown()
            asked = httpx.URL(login.url).params
            assert (asked["client_id"], asked["scope"]) == ("known", "read write")
            back = await login.browse()
            assert back.startswith("http://localhost/back?")
            login.paste(back + "\n")
            code, out = await login.end()
            assert code == 0, out
            assert "sesame" not in out


async def test_who_says_no_is_told_why(tmp_path: Path) -> None:
    async with locked() as peer, logging_in(config_of(tmp_path, far={"url": f"{peer.url}/mcp"}), "far") as login:
        await login.until_shown()
        state = httpx.URL(login.url).params["state"]
        login.paste(f"http://127.0.0.1:1/callback?error=access_denied&error_description=not+today&state={state}\n")
        code, out = await login.end()
    assert code == 1
    assert "access_denied not today" in out


@pytest.mark.parametrize("entry", [{"command": "x"}, {"url": "ws://x/"}])
async def test_what_cannot_be_signed_in_to(tmp_path: Path, entry: object) -> None:
    async with logging_in(config_of(tmp_path, far=entry), "far") as login:
        code, out = await login.end()
    assert (code, "is no server with a url" in out) == (2, True)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("http://127.0.0.1:1/callback?code=a%2Fb&state=s", {"code": "a/b", "state": "s"}),
        ("  'http://localhost/cb?state=s&code=c'\n", {"code": "c", "state": "s"}),
        ("<https://x.example/#code=c&state=s>", {"code": "c", "state": "s"}),
        ("127.0.0.1:8000/callback?code=c&amp;state=s", {"code": "c", "state": "s"}),
        ("?code=c&state=s", {"code": "c", "state": "s"}),
        ("code=c&state=s", {"code": "c", "state": "s"}),
        ("4/0Adeu5BW-x_y", {"code": "4/0Adeu5BW-x_y"}),
        ("http://x/?error=access_denied", {"error": "access_denied"}),
        ("http://x/", None),
        ("http://x/?a=b", None),
        ("what do I do?", None),
        ("", None),
        ("http://[", None),
    ],
)
def test_what_people_paste(text: str, query: dict[str, str] | None) -> None:
    assert read_callback(text) == query


@given(st.text())
def test_anything_may_be_pasted(text: str) -> None:
    found = read_callback(text)
    assert found is None or {"code", "error"} & found.keys()
    json.dumps(found)
