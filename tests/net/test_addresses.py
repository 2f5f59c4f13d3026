"""Which addresses are connected to, and the HTTP client that does it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address

import pytest

from mcp_endpoint.net.addresses import AllowedAddresses, checked_addresses, is_public
from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.net.http_client import HttpLimits, HttpSettings, error_body, make_client, read_body, send

HERE = AllowedAddresses.of(["127.0.0.1"])


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1"]
)
def test_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *(
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
            "fd00::1",
            "fec0::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ),
        *("64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1", "2001:db8::1", "::7f00:1"),
    ],
)
def test_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


def test_what_is_listed_may_be_private() -> None:
    allowed = AllowedAddresses.of(["192.168.0.0/16", "10.0.0.5", "NAS.lan.", "fd00::/8", "[::1]"])
    for host, address in [("a", "192.168.3.4"), ("a", "10.0.0.5"), ("nas.lan", "172.16.0.1"), ("a", "fd12::1")]:
        assert allowed(host, ip_address(address))
    assert allowed("a", ip_address("::ffff:10.0.0.5"))
    assert allowed("a", ip_address("::1"))
    assert not allowed("a", ip_address("10.0.0.6"))
    assert not allowed("evil.nas.lan", ip_address("172.16.0.1"))
    assert not allowed("a", ip_address("127.0.0.1"))


@pytest.mark.parametrize("entry", ["", "10.0.0.1/8", "a b", "fe80::zz", "x/24"])
def test_an_entry_that_is_none(entry: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        AllowedAddresses.of([entry])


async def test_only_allowed_addresses_of_a_name_are_left() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.1", "8.8.8.8", "127.0.0.1"]

    assert await checked_addresses("x", 80, AllowedAddresses(), resolve) == ["8.8.8.8"]
    assert await checked_addresses("x", 80, HERE, resolve) == ["8.8.8.8", "127.0.0.1"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "0", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_is_private_however_it_is_spelled(host: str) -> None:
    with pytest.raises(NetError) as refused:
        await checked_addresses(host, 80, AllowedAddresses())
    # a machine without IPv6 does not even resolve ::1
    assert refused.value.fault in {NetFault.PRIVATE_ADDRESS, NetFault.UNREACHABLE}


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 70, "a..b", ""])
async def test_a_name_that_is_not_known(host: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        host.encode("idna")
        raise OSError("no such name")

    with pytest.raises(NetError) as refused:
        await checked_addresses(host, 80, AllowedAddresses(), resolve)
    assert refused.value.fault is NetFault.UNREACHABLE


Answer = Callable[[bytes], bytes]


@contextlib.asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """A server that answers each request's head with what `answer` says, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(answer(await reader.readuntil(b"\r\n\r\n")))
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def ok(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


async def get(url: str, **settings: object) -> bytes:
    async with make_client(HttpSettings(**{"allowed": HERE} | settings)) as client:  # type: ignore[arg-type]
        return await read_body(await send(client, client.build_request("GET", url)), 1000, 5)


async def fault_of(url: str, **settings: object) -> NetFault:
    with pytest.raises(NetError) as failed:
        await get(url, **settings)
    return failed.value.fault


async def test_headers_are_sent_and_no_compression_is_asked_for() -> None:
    heads: list[bytes] = []

    def answer(head: bytes) -> bytes:
        heads.append(head.lower())
        return ok(b"hello")

    async with server(answer) as url:
        assert await get(url, headers={"user-agent": "me", "X-Key": "k"}) == b"hello"
    assert b"user-agent: me\r\n" in heads[0]
    assert heads[0].count(b"user-agent") == 1
    assert b"x-key: k\r\n" in heads[0]
    assert b"accept-encoding: identity\r\n" in heads[0]


async def test_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with server(lambda head: ok(b"direct")) as url:
        assert await get(url) == b"direct"


async def test_a_private_address_is_not_connected_to() -> None:
    async with server(lambda head: ok(b"")) as url:
        assert await fault_of(url, allowed=AllowedAddresses()) is NetFault.PRIVATE_ADDRESS


async def test_a_name_is_connected_to_at_the_address_that_was_checked() -> None:
    answers = iter([["127.0.0.1"], ["10.255.255.1"]])

    async def resolve(host: str, port: int) -> list[str]:
        assert host == "rebinding.example"
        return next(answers)

    heads: list[bytes] = []

    def answer(head: bytes) -> bytes:
        heads.append(head)
        return ok(b"once")

    async with server(answer) as url:
        there = url.replace("127.0.0.1", "rebinding.example")
        assert await get(there, resolve=resolve) == b"once"
        assert await fault_of(there, resolve=resolve) is NetFault.PRIVATE_ADDRESS
    assert b"Host: rebinding.example" in heads[0]


async def test_the_next_address_is_tried() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with server(lambda head: ok(b"second")) as url:
        there = url.replace("127.0.0.1", "two.example")
        assert await get(there, resolve=resolve, allowed=AllowedAddresses.of(["two.example"])) == b"second"


async def test_nobody_listens() -> None:
    async with server(lambda head: b"") as url:
        pass
    assert await fault_of(url) is NetFault.UNREACHABLE


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", b"nonsense\r\n\r\n"])
async def test_an_answer_that_is_cut_short_or_none(answer: bytes) -> None:
    async with server(lambda head: answer) as url:
        assert await fault_of(url) is NetFault.CONNECTION_LOST


async def test_a_silent_server_has_its_time() -> None:
    held = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        assert await fault_of(url, limits=HttpLimits(read=0.05)) is NetFault.CONNECTION_LOST
        held.set()


async def test_a_body_has_a_limit() -> None:
    async with server(lambda head: ok(b"x" * 1001)) as url:
        assert await fault_of(url) is NetFault.TOO_LONG


async def test_a_body_compressed_more_than_once_is_refused() -> None:
    async with server(lambda head: ok(b"x", "Content-Encoding: gzip, gzip")) as url:
        assert await fault_of(url) is NetFault.ENCODED_TWICE


async def test_the_beginning_of_an_errors_words() -> None:
    async with server(lambda head: ok(b"x" * 100_000)) as url, make_client(HttpSettings(allowed=HERE)) as client:
        assert await error_body(await send(client, client.build_request("GET", url))) == b"x" * 65536


def redirecting(to: Callable[[bytes], str], status: int = 307) -> Answer:
    def answer(head: bytes) -> bytes:
        if b" /there" in head:
            return ok(head.split()[0])
        return f"HTTP/1.1 {status} Moved\r\nLocation: {to(head)}\r\nContent-Length: 0\r\n\r\n".encode()

    return answer


async def post(url: str) -> bytes:
    async with make_client(HttpSettings(allowed=HERE)) as client:
        return await read_body(await send(client, client.build_request("POST", url, content=b"{}")), 1000, 5)


async def test_a_redirect_within_the_host_is_followed() -> None:
    async with server(redirecting(lambda head: "/there")) as url:
        assert await get(url) == b"GET"
        assert await post(url) == b"POST"


@pytest.mark.parametrize("to", ["http://127.0.0.2/there", "http://127.0.0.1:1/there", "https://127.0.0.1/there", "/on"])
async def test_other_redirects_are_not(to: str) -> None:
    async with server(redirecting(lambda head: to)) as url:
        assert await fault_of(url) is NetFault.REDIRECTED


async def test_a_post_never_becomes_a_get() -> None:
    async with server(redirecting(lambda head: "/there", 302)) as url:
        assert await get(url) == b"GET"
        with pytest.raises(NetError) as failed:
            await post(url)
        assert failed.value.fault is NetFault.REDIRECTED


async def test_an_address_that_is_no_url() -> None:
    assert await fault_of("ftp://127.0.0.1/x") is NetFault.UNREACHABLE
