"""`servers login`: sign in to a remote server once, in a browser; the broker goes on with the tokens from there."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from msgspec.json import encode

from mcp_endpoint import __version__
from mcp_endpoint.providers.addresses import Allowed
from mcp_endpoint.providers.http_client import HttpSettings
from mcp_endpoint.providers.make import private, token_file
from mcp_endpoint.providers.oauth import OAuth, OAuthSettings
from mcp_endpoint.providers.oauth_sign_in import LoopbackSignIn
from mcp_endpoint.providers.server_entry import Kind, Server, expanded
from mcp_endpoint.providers.servers_file import UnusableFile, read_servers
from mcp_endpoint.providers.source import Stopped
from mcp_endpoint.providers.streamable_http import StreamableHttpSettings, StreamableHttpSource
from mcp_endpoint.redaction import quote_peer
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp

FAILED = 1
PATIENCE = 330.0
"""Seconds for it all; a person has 300 s in the browser."""


def login(path: Path, name: str, environ: Mapping[str, str], out: TextIO) -> int:
    """Sign in to the server called `name` in the file at `path`. Returns an exit code. Raises UnusableFile."""
    server = next((one for one in read_servers(path) if one.name == name), None)
    if server is not None and server.fault is not None:
        raise UnusableFile(path, f'server "{name}"', server.fault.told()["en"], server.fault.told()["zh"])
    if server is None or server.kind is not Kind.HTTP:
        raise UnusableFile(
            path, f'server "{name}"', "is no server with a url of type http", "不是 http 类型的 url 服务"
        )
    try:
        ready = expanded(server, environ)
    except KeyError as error:
        raise UnusableFile(
            path, f'server "{name}"', f"the environment has no {error.args[0]}", f"环境变量 {error.args[0]} 未设置"
        ) from None
    try:
        asyncio.run(_sign_in(ready, path.parent, lambda url: _show(url, out)))
    except (Stopped, TimeoutError, OSError) as error:
        print(f"{quote_peer(name)}: not signed in: {quote_peer(str(error), 300)} / 登录失败", file=out)
        return FAILED
    print(f"{quote_peer(name)}: signed in; a running broker uses it now. / 登录成功，立即生效。", file=out)
    return 0


def _show(url: str, out: TextIO) -> None:
    print(f"Open this address in a browser on this machine / 请在本机浏览器中打开：\n{url}", file=out, flush=True)


async def _sign_in(server: Server, folder: Path, show: Callable[[str], None]) -> None:
    """Greet the server, signed; what it answers shows that it lets the broker in. Raises Stopped, TimeoutError."""
    allowed = private(server, server.url)
    store = token_file(folder, server.name)
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    person = await LoopbackSignIn.start(show)
    try:
        settings = OAuthSettings(store, http=HttpSettings(allowed=Allowed.of(allowed)))
        oauth = OAuth(server.url, settings, person)
        try:
            await _greet(StreamableHttpSource(StreamableHttpSettings(server.url, server.headers, allowed), oauth.send))
        finally:
            await oauth.close()
    finally:
        await person.close()


async def _greet(source: StreamableHttpSource) -> None:
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(frame: bytes) -> None:
        if not answered.done():
            answered.set_result(None)

    def stopped(why: Stopped) -> None:
        if not answered.done():
            answered.set_exception(why)

    client = {"name": "mcp-endpoint", "version": __version__}
    params = {"protocolVersion": mcp.NEWEST, "capabilities": {}, "clientInfo": client}
    async with asyncio.timeout(PATIENCE):
        try:
            await source.open(take, stopped)
            source.send(wire.request(1, "initialize", encode(params)))
            await answered
        finally:
            await source.close()
