"""`servers login`: a person signs in once in a browser, and the running broker opens the server."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

import httpx

from conftest import Brokers
from http_peers import HERE, free_port, process
from support import ROOT, said
from wire import PATIENCE


async def test_a_server_that_wants_to_be_signed_in_to(opening: Brokers) -> None:
    port = free_port()
    command = (sys.executable, str(HERE / "sdk_oauth_server.py"), str(port), "3600")
    async with process(*command, until="running on", port=port) as peer:
        broker = opening(locked={"url": f"{peer.url}/mcp"})
        async with broker.agent().device() as device:
            await broker.logged(r"server locked: .*\(unauthorized\)")
            line = [str(ROOT / "main.py"), "--config", str(broker.config), "servers", "login", "locked"]
            environ = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
            login = await asyncio.create_subprocess_exec(sys.executable, *line, env=environ, stdout=PIPE, stderr=PIPE)
            assert login.stdout is not None
            async with asyncio.timeout(PATIENCE):
                while not (url := (await login.stdout.readline()).decode().strip()).startswith("http"):
                    assert url, (await login.communicate())[1].decode()
                async with httpx.AsyncClient(follow_redirects=True, trust_env=False, timeout=PATIENCE) as browser:
                    assert "can be closed" in (await browser.get(url)).text
                out, err = await login.communicate()
            assert (login.returncode, err) == (0, b"")
            assert b"signed in" in out
            await broker.logged("server locked: serving")
            assert "inside" in await device.names()
            assert said(await device.call("inside"))
    (kept,) = (broker.config.parent / ".mcp_tokens").iterdir()
    assert oct(kept.stat().st_mode & 0o777) == "0o600"
