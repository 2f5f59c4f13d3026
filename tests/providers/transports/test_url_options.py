"""How an entry's URL is reached, with real TLS and real proxies: `ca`, `proxy`, headers, fake-ip, idle connections."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from mcp_endpoint.net.addresses import AllowedAddresses, checked_addresses
from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.net.http_client import HttpSettings, make_client, read_body, send
from mcp_endpoint.net.trust import default_tls
from mcp_endpoint.providers.entries.entry import expanded, read_entry
from mcp_endpoint.providers.factory import SourceContext, http_source, make_source
from mcp_endpoint.providers.net_errors import as_stopped
from mcp_endpoint.providers.source import Source, Stopped, StopReason
from support.certificates import make_pair
from support.servers.http_peers import HELLO, Exchange, greeting, scripted, sdk
from support.servers.proxy_server import forward_proxy
from support.servers.sources import Talk, talking

HERE = Path(__file__).parent


@contextlib.asynccontextmanager
async def opened(entry: dict[str, object], folder: Path = HERE, **environ: str) -> AsyncIterator[Talk]:
    """The source of an entry, open."""
    async with talking(source_of(entry, folder, environ)) as talk:
        yield talk


def source_of(entry: dict[str, object], folder: Path = HERE, environ: dict[str, str] | None = None) -> Source:
    server = expanded(read_entry("x", entry), environ or {})
    return make_source(server, SourceContext(environ or {}, folder))


async def why(entry: dict[str, object], folder: Path = HERE, **environ: str) -> Stopped:
    """Why an entry does not serve."""
    try:
        source = source_of(entry, folder, environ)
    except Stopped as stopped:
        return stopped
    talk = Talk(source)
    try:
        await talk.open()
        talk.ask("initialize", protocolVersion="2025-11-25")
        return await talk.end()
    except Stopped as stopped:
        return stopped
    finally:
        await source.close()


async def plain(exchange: Exchange) -> None:
    """A tool server that answers POST alone."""
    if exchange.method != "POST":
        await exchange.answer(405)
    elif exchange.frame["method"] == "tools/call":
        await exchange.result({"content": [{"type": "text", "text": exchange.headers.get("x-key", "-")}]})
    else:
        await exchange.result({})


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return make_pair(tmp_path, "home")


@pytest.fixture
def tls(pair: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    return context


# --- certificates ---


async def test_a_private_ca(tmp_path: Path, tls: ssl.SSLContext) -> None:
    async with scripted(greeting(plain), tls=tls) as url:
        for ca in ("home.crt", str(tmp_path), ["home.crt"], "${CA}"):
            async with opened({"url": url, "ca": ca}, tmp_path, CA=f"{tmp_path}/home.crt\n") as talk:
                assert await talk.greet() == HELLO
        end = await why({"url": url})
        assert end.why is StopReason.CERTIFICATE
        assert "self-signed" in end.detail or "self signed" in end.detail
        for words in end.sentences():
            assert " ca " in words or '"ca"' in words
            assert "SSL_CERT_FILE" in words


async def test_a_ca_that_the_environment_names(
    tmp_path: Path, pair: tuple[Path, Path], tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "mine.pem").write_bytes(pair[0].read_bytes())
    async with scripted(greeting(plain), tls=tls) as url:
        for name, value in (("SSL_CERT_FILE", pair[0]), ("SSL_CERT_DIR", folder)):
            with monkeypatch.context() as patch:
                patch.setenv(name, str(value))
                async with opened({"url": url}) as talk:
                    assert await talk.greet() == HELLO
                assert len(default_tls().get_ca_certs()) > 50, "public ones are trusted beside it"


async def test_a_certificate_of_another_name_is_told_as_that(tmp_path: Path, tls: ssl.SSLContext) -> None:
    async with scripted(greeting(plain), tls=tls) as url:
        end = await why({"url": url.replace("127.0.0.1", "localhost"), "ca": "home.crt"}, tmp_path)
    assert (end.why, "localhost" in end.detail) == (StopReason.CERTIFICATE, True)


async def test_tls_where_there_is_none() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listening:
        end = await why({"url": f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"})
    assert end.why is StopReason.UNREACHABLE
    assert all("http://" in words for words in end.sentences())


async def test_a_private_ca_of_the_other_kinds(tmp_path: Path, tls: ssl.SSLContext) -> None:
    async def events(exchange: Exchange) -> None:
        await exchange.stream("event: endpoint\ndata: /m")
        await exchange.gone()

    async def echo(connection: ServerConnection) -> None:
        async for frame in connection:
            await connection.send(frame)

    document = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/a": {"get": {}}}}

    async def api(exchange: Exchange) -> None:
        await exchange.answer(200, document | {"servers": [{"url": "/"}]})

    async with scripted(events, tls=tls) as url, opened({"type": "sse", "url": url, "ca": "home.crt"}, tmp_path):
        assert (await why({"type": "sse", "url": url})).why is StopReason.CERTIFICATE
    async with serve(echo, "127.0.0.1", 0, ssl=tls) as listening:
        entry = {"url": f"wss://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"}
        async with opened(entry | {"ca": "home.crt"}, tmp_path) as talk:
            talk.send(method="hello")
            await talk.notified("hello")
        assert (await why(entry)).why is StopReason.CERTIFICATE  # type: ignore[arg-type]
    async with scripted(api, tls=tls) as url:
        async with opened({"openapi": f"{url}/doc", "ca": "home.crt"}, tmp_path) as talk:
            assert await talk.tools() == ["get_a"]
        assert (await why({"openapi": f"{url}/doc"})).why is StopReason.CERTIFICATE


# --- proxies ---


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("user", ["", "me:p@ss"])
async def test_plain_http_through_a_proxy(scheme: str, user: str) -> None:
    async with forward_proxy(user, tools_example="127.0.0.1") as proxy, scripted(greeting(plain)) as url:
        there = url.replace("127.0.0.1", "tools.example")
        way = f"{scheme}://{user.replace('@', '%40')}{'@' if user else ''}127.0.0.1:{proxy.port}"
        async with opened({"url": there, "proxy": way, "headers": {"X-Key": "k"}}) as talk:
            assert await talk.greet() == HELLO
            assert await talk.call("t") == "k"
        assert proxy.asked
        assert all("tools.example" in one for one in proxy.asked)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_https_through_a_proxy(tmp_path: Path, tls: ssl.SSLContext, scheme: str) -> None:
    async with forward_proxy() as proxy, scripted(greeting(plain), tls=tls) as url:
        way = f"{scheme}://127.0.0.1:{proxy.port}"
        async with opened({"url": url, "proxy": way, "ca": "home.crt"}, tmp_path) as talk:
            await talk.greet()
            assert await talk.call("t") == "-"
        assert set(proxy.asked) == {f"{'CONNECT' if scheme == 'http' else 'SOCKS'} {url.partition('//')[2]}"}


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("secure", [False, True])
async def test_a_websocket_through_a_proxy(tmp_path: Path, tls: ssl.SSLContext, scheme: str, secure: bool) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for frame in connection:
            await connection.send(frame)

    async with forward_proxy("me:pw") as proxy, serve(echo, "127.0.0.1", 0, ssl=tls if secure else None) as listening:
        place = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        entry: dict[str, object] = {"url": f"ws{'s' if secure else ''}://{place}/", "ca": "home.crt"}
        async with opened(entry | {"proxy": f"{scheme}://me:pw@127.0.0.1:{proxy.port}"}, tmp_path) as talk:
            talk.send(method="hello")
            await talk.notified("hello")
        assert place in proxy.asked[-1]
        end = await why(entry | {"proxy": f"{scheme}://me:sesame@127.0.0.1:{proxy.port}"}, tmp_path)
        assert end.why is StopReason.PROXY_FAILED
        assert "sesame" not in str(end)


async def test_the_other_kinds_go_through_a_proxy() -> None:
    document = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/a": {"get": {}}}}

    async def script(exchange: Exchange) -> None:
        if exchange.path == "/sse":
            await exchange.stream("event: endpoint\ndata: /m")
            await exchange.gone()
        await exchange.answer(200, document | {"servers": [{"url": "/"}]})

    async with forward_proxy() as proxy, scripted(script) as url:
        way = f"http://127.0.0.1:{proxy.port}"
        async with opened({"type": "sse", "url": f"{url}/sse", "proxy": way}):
            assert proxy.asked == [f"GET {url}/sse"]
        async with opened({"openapi": f"{url}/doc", "proxy": way}) as talk:
            await talk.request("tools/call", name="get_a", arguments={})
        assert proxy.asked[1:] == [f"GET {url}/doc", f"GET {url}/a"]


async def test_the_environments_proxy_if_the_entry_says_so() -> None:
    async with forward_proxy(tools_example="127.0.0.1") as proxy, scripted(greeting(plain)) as url:
        there, way = url.replace("127.0.0.1", "tools.example"), f"http://127.0.0.1:{proxy.port}"
        async with opened({"url": there, "proxy": True}, HTTP_PROXY=way) as talk:
            await talk.greet()
        asked = len(proxy.asked)
        async with opened({"url": url, "proxy": True}, HTTP_PROXY=way, NO_PROXY="localhost,127.0.0.1") as talk:
            await talk.greet()
        async with opened({"url": url}, HTTP_PROXY=way) as talk:
            await talk.greet()
        assert len(proxy.asked) == asked


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_does_not_lead_there(tmp_path: Path, tls: ssl.SSLContext, scheme: str) -> None:
    async with forward_proxy("me:pw") as proxy, scripted(plain, tls=tls) as url:
        entry: dict[str, object] = {"url": url, "ca": "home.crt"}
        for way in (f"{scheme}://127.0.0.1:{proxy.port}", f"{scheme}://me:sesame@127.0.0.1:{proxy.port}"):
            end = await why(entry | {"proxy": way}, tmp_path)
            assert end.why is StopReason.PROXY_FAILED
            assert "sesame" not in str(end)
            assert all("proxy" in words for words in end.sentences())
        end = await why({"url": url.replace("https", "http"), "proxy": f"http://127.0.0.1:{proxy.port}"})
        assert (end.why, "407" in end.detail) == (StopReason.PROXY_FAILED, True)
    end = await why(entry | {"proxy": f"{scheme}://127.0.0.1:{proxy.port}"}, tmp_path)
    assert (end.why, str(proxy.port) in end.detail) == (StopReason.PROXY_FAILED, True), "nobody listens there"
    async with forward_proxy(refuses=True) as proxy, scripted(plain, tls=tls) as url:
        end = await why(entry | {"url": url, "proxy": f"{scheme}://127.0.0.1:{proxy.port}"}, tmp_path)
        assert end.why is StopReason.PROXY_FAILED


async def test_a_proxy_that_speaks_something_else() -> None:
    async with scripted(plain) as url:
        end = await why({"url": "http://tools.example/", "proxy": url.replace("http", "socks5")})
    assert end.why in (StopReason.PROXY_FAILED, StopReason.CONNECTION_LOST)


async def test_a_private_address_is_no_more_allowed_through_a_proxy() -> None:
    async with forward_proxy() as proxy, scripted(plain) as url:
        settings = HttpSettings(route=lambda scheme, host, port: read(proxy.port))
        for there in (url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "127.1")):
            async with make_client(settings) as client:
                with pytest.raises(NetError) as failed:
                    await send(client, client.build_request("GET", there))
            assert failed.value.fault is NetFault.PRIVATE_ADDRESS
        assert proxy.asked == []


def read(port: int):  # type: ignore[no-untyped-def]
    from mcp_endpoint.net.proxies import read_proxy

    return read_proxy(f"http://127.0.0.1:{port}")


# --- headers ---


async def test_a_key_out_of_a_file() -> None:
    async with scripted(greeting(plain)) as url:
        async with opened({"url": url, "headers": {"X-Key": "${KEY}"}}, KEY="sesame\n") as talk:
            await talk.greet()
            assert await talk.call("t") == "sesame"
        for kind in ("http", "sse", "ws"):
            there = url.replace("http", "ws") if kind == "ws" else url
            end = await why({"type": kind, "url": there, "headers": {"X-Key": "${KEY}"}}, KEY="ses\name")
            assert end.why is StopReason.BAD_ENTRY
            assert all("X-Key" in told and "ses" not in told for told in (*end.sentences(), *end.cause, str(end)))
            assert not any(end.todo)


# --- addresses that a proxy program made up ---


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.18.0.7", "198.18.0.0/15"),
        ("198.19.255.1", "198.18.0.0/15"),
        ("fc00::1:2", "fc00::/18"),
        ("fdfe:dcba:9876::5", "fdfe:dcba:9876::/64"),
        ("240.0.0.9", "240.0.0.0/8"),
    ],
)
async def test_a_fake_ip_is_told_with_the_line_to_add(address: str, network: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [address]

    with pytest.raises(Stopped) as stopped, as_stopped():
        await checked_addresses("tools.example", 443, AllowedAddresses(), resolve)
    assert stopped.value.why is StopReason.FAKE_ADDRESS
    for words in stopped.value.sentences(120):
        assert f'"allow_private": ["{network}"]' in words
        assert f"tools.example is {address}" in words
        assert "fake-ip" in words
        assert "Clash" in words
    assert await checked_addresses("tools.example", 443, AllowedAddresses.of([network]), resolve) == [address]


async def test_a_private_address_is_told_with_the_line_to_add() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["192.168.1.9"]

    with pytest.raises(Stopped) as stopped, as_stopped():
        await checked_addresses("nas.lan", 80, AllowedAddresses(), resolve)
    assert stopped.value.why is StopReason.PRIVATE_ADDRESS
    assert '"allow_private": ["nas.lan"]' in stopped.value.sentences()[0]


# --- connections that are idle ---


class Keeping:
    """A server that keeps connections, and closes one without a word once it has been idle for a while."""

    def __init__(self, idle: float) -> None:
        self.idle = idle
        self.connections = 0
        self.requests = 0
        self.tasks: list[asyncio.Task[None]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                async with asyncio.timeout(self.idle):
                    await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.tasks.append(asyncio.create_task(self(reader, writer)))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await asyncio.gather(*self.tasks)


async def test_an_idle_connection_is_left_alone_before_a_server_would_close_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from mcp_endpoint.net import http_transport

    assert http_transport.IDLE < 2, "the shortest that is usual"
    monkeypatch.setattr(http_transport, "IDLE", 0.01)
    server = Keeping(idle=30)
    settings = HttpSettings(allowed=AllowedAddresses.of(["127.0.0.1"]))
    async with server.listening() as url, make_client(settings) as client:
        for _ in range(3):
            assert await read_body(await send(client, client.build_request("POST", url)), 10, 5) == b"ok"
            await asyncio.sleep(0.05)
    assert (server.requests, server.connections) == (3, 3)


async def test_a_connection_is_used_again_at_once() -> None:
    server = Keeping(idle=30)
    settings = HttpSettings(allowed=AllowedAddresses.of(["127.0.0.1"]))
    async with server.listening() as url, make_client(settings) as client:
        for _ in range(20):
            await read_body(await send(client, client.build_request("POST", url)), 10, 5)
    assert server.connections < 20


async def test_an_sdk_server_through_a_proxy() -> None:
    async with forward_proxy() as proxy, sdk("streamable") as served:
        source = http_source(
            read_entry("x", {"url": f"{served.url}/mcp", "proxy": f"http://127.0.0.1:{proxy.port}"}),
            SourceContext({}, HERE),
        )
        async with talking(source) as talk:
            await talk.greet()
            assert await talk.call("count", steps=2) == "counted to 2"
        assert any(one.startswith("POST http://") for one in proxy.asked)
