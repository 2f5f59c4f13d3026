"""What is said to a SOCKS proxy before a connection leads to a host (RFC 1928, passwords RFC 1929). Sans I/O."""

from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.net.proxies import Proxy

_FAILURES = {
    1: "it failed",
    2: "its rules do not allow that",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "nobody listens there",
    6: "it took too long",
    7: "it does not do that",
    8: "it does not know such addresses",
}
_ADDRESS_SIZES = {1: 4, 4: 16}


async def socks_connect(
    proxy: Proxy,
    host: str,
    port: int,
    read: Callable[[int], Awaitable[bytes]],
    write: Callable[[bytes], Awaitable[None]],
) -> None:
    """Have the proxy connect to a host, whose name it looks up. `read` gives at most so many bytes, none at the end.

    Raises NetError (PROXY_FAILED).
    """

    def failed(detail: str) -> NetError:
        return NetError(NetFault.PROXY_FAILED, f"{proxy.place}: {detail}")

    async def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await read(count - len(data))
            if not more:
                raise failed("it closed the connection; does it speak SOCKS5?")
            data += more
        return data

    user, password = proxy.user.encode(), proxy.password.encode()
    named = bool(user or password)
    await write(b"\x05\x02\x00\x02" if named else b"\x05\x01\x00")
    version, method = await exactly(2)
    if version != 5 or method not in (0, 2) or (method == 2 and not named):
        raise failed("it wants a user and a password" if version == 5 else "it does not speak SOCKS5")
    if method == 2:
        if len(user) > 255 or len(password) > 255:
            raise failed("the user or the password is too long")
        await write(b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
        if (await exactly(2))[1] != 0:
            raise failed("it refused the user or the password")
    await write(b"\x05\x01\x00" + _address(host) + port.to_bytes(2, "big"))
    _, answer, _, kind = await exactly(4)
    if answer != 0:
        raise failed(_FAILURES.get(answer, f"failure {answer}"))
    size = (await exactly(1))[0] if kind == 3 else _ADDRESS_SIZES.get(kind, 4)
    await exactly(size + 2)


def _address(host: str) -> bytes:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        name = host.encode("idna") if not host.isascii() else host.encode()
        return b"\x03" + bytes([len(name[:255])]) + name[:255]
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed
