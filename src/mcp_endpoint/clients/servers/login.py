"""`servers login`: sign in to a remote server once, in a browser; the broker goes on with the tokens from there.

Where the browser is on another machine (the broker has no screen, or runs in a container), the address that it is sent
back to is pasted here.
"""

import asyncio
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from msgspec.json import encode

from mcp_endpoint import __version__
from mcp_endpoint.clients.exit_codes import FAILED
from mcp_endpoint.clients.servers.files import not_listed, server_place
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.entries.entry import Kind, Server, expanded
from mcp_endpoint.providers.entries.members import BadEntry
from mcp_endpoint.providers.entries.servers_file import UnusableFile, read_servers
from mcp_endpoint.providers.entries.url_access import OAuthClient
from mcp_endpoint.providers.factory import SourceContext, http_source, oauth_of
from mcp_endpoint.providers.oauth.browser import MOST_PASTED, LoopbackSignIn
from mcp_endpoint.providers.oauth.store import token_file
from mcp_endpoint.providers.source import Source, Stopped
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp

PATIENCE = 330.0
"""Seconds for it all; a person has 300 s in the browser."""
_SHOWN = Bilingual(
    """\
请在浏览器中打开：
{url}
登录后浏览器会转到 {back}。若打不开该页面（浏览器在另一台机器上，或本程序在容器中），
请把该页面的完整地址粘贴到这里并按回车：""",
    """\
Open this address in a browser:
{url}
The browser then goes to {back}. If it cannot open that page (it is on another machine, or this is a container), paste
the whole address of that page here:""",
)
_NOT_OURS = Bilingual(
    "这不是本次登录的地址（其中应有 code= 和本次的 state=），请重新粘贴。",
    "That is not the address of this sign-in: it has a code= and this state=.",
)


class _PortTaken(Exception):
    """The browser cannot come back to the port."""


def login(path: Path, name: str, environ: Mapping[str, str], terminal: Terminal, port: int = 0, pasted: int = 0) -> int:
    """Sign in to the server called `name` in the file at `path`. Returns an exit code. Raises UnusableFile.

    The browser comes back to `port`, any free one if 0; `pasted` is the descriptor that an address is pasted to.
    """
    servers = {server.name: server for server in read_servers(path)} if path.exists() else {}
    server = servers.get(name)
    if server is None:
        raise not_listed(path, name, servers)
    if server.disabled:
        raise UnusableFile(path, server_place(name), "is disabled; enable it first", "已停用，请先启用")
    if server.fault is not None:
        raise UnusableFile(path, server_place(name, server.fault.member), server.fault.en, server.fault.zh)
    if server.kind not in (Kind.HTTP, Kind.SSE):
        en, zh = "is no server with a url of type http or sse", "不是 http 或 sse 类型的 url 服务"
        raise UnusableFile(path, server_place(name), en, zh)
    try:
        ready = expanded(server, environ)
    except KeyError as error:
        variable = error.args[0]
        en, zh = f"the environment has no {variable}", f"环境变量 {variable} 未设置"
        raise UnusableFile(path, server_place(name), en, zh) from None
    try:
        asyncio.run(_sign_in(ready, path.parent, environ, _Person(terminal, pasted), port))
    except BadEntry as error:
        raise UnusableFile(path, server_place(name, error.member), error.en, error.zh) from None
    except _PortTaken as error:
        why = Bilingual(
            f"本机端口无法使用，请用 --port 换一个（{error}）",
            f"the browser cannot come back to that port: choose another as --port ({error})",
        )
    except Stopped as error:
        why = error.sentences(300)
    except (TimeoutError, OSError, ValueError) as error:
        text = str(error) or type(error).__name__
        why = Bilingual(text, text)
    else:
        terminal.say(
            Bilingual(
                f"{quote_peer(name)}：登录成功，运行中的服务立即使用。",
                f"{quote_peer(name)}: signed in; a running broker uses it now.",
            )
        )
        return 0
    terminal.say(
        Bilingual(
            f"{quote_peer(name)}：登录失败：{quote_peer(why.zh, 700)}",
            f"{quote_peer(name)}: not signed in: {quote_peer(why.en, 700)}",
        )
    )
    return FAILED


class _Person:
    """Whoever runs the command: is shown an address, and may paste one."""

    def __init__(self, terminal: Terminal, pasted: int) -> None:
        self._terminal = terminal
        self._pasted = pasted
        self._sign_in: LoopbackSignIn | None = None

    async def begin(self, port: int, redirect_uri: str) -> LoopbackSignIn:
        """Wait for the browser from now on. Raises OSError, ValueError."""
        self._sign_in = await LoopbackSignIn.start(self._show, port, redirect_uri)
        return self._sign_in

    def _show(self, url: str) -> None:
        assert self._sign_in is not None
        back = self._sign_in.redirect_uri
        self._terminal.say(Bilingual(*(text.format(url=url, back=back) for text in _SHOWN)))
        # A thread: a terminal, a pipe and a file are read in the same way then. It ends with the process.
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop, self._sign_in), daemon=True).start()

    def _read(self, loop: asyncio.AbstractEventLoop, sign_in: LoopbackSignIn) -> None:
        """Hand on each line that is pasted, until there are no more."""
        rest = b""
        try:
            while data := os.read(self._pasted, 4096):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    loop.call_soon_threadsafe(self._take, sign_in, line.decode(errors="replace"))
                rest = rest[-MOST_PASTED:]
            if rest.strip():
                loop.call_soon_threadsafe(self._take, sign_in, rest.decode(errors="replace"))
        except (OSError, RuntimeError):
            return  # nothing to read from, or the sign-in is over

    def _take(self, sign_in: LoopbackSignIn, line: str) -> None:
        if line.strip() and not sign_in.pasted(line):
            self._terminal.say(_NOT_OURS)


async def _sign_in(server: Server, folder: Path, environ: Mapping[str, str], person: _Person, port: int) -> None:
    """Greet the server, signed; what it answers shows that it lets the broker in.

    Raises Stopped, BadEntry, _PortTaken, TimeoutError, OSError, ValueError.
    """
    context = SourceContext(environ, folder)
    store = token_file(folder, server.name)
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        sign_in = await person.begin(port, (server.access.oauth or OAuthClient()).redirect_uri)
    except OSError as error:
        raise _PortTaken(error.strerror or str(error)) from None
    try:
        oauth = oauth_of(server, context, sign_in)
        try:
            await _greet(http_source(server, context, oauth.send, PATIENCE))
        finally:
            await oauth.close()
    finally:
        await sign_in.close()


async def _greet(source: Source) -> None:
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
