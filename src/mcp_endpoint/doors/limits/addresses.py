"""Whom a connection comes from: its own address, or the one that a trusted proxy speaks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from mcp_endpoint.settings.values import Network

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case, and values."""


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """Where a connection comes from."""

    shown: str
    """For log and `/stats`: address and port, or the address alone where a proxy told it."""
    source: str
    """What limits and refusals go by: the address; of IPv6 its /64 network, which one machine has all of."""
    limited: bool
    """Whether limits per address hold for it; this machine itself is free of them."""
    proxy: bool = False
    """Whether it is a trusted proxy that has not said yet for whom it speaks."""


UNKNOWN = ClientAddress("?", "?", limited=False)


def client_address(peername: object, proxies: Sequence[Network]) -> ClientAddress:
    """Where a connection comes from, by the address that its socket has."""
    address = _address(str(peername[0])) if isinstance(peername, tuple) else None
    if address is None:
        return UNKNOWN
    assert isinstance(peername, tuple)
    host = f"[{address}]" if address.version == 6 else str(address)
    return _from_ip(f"{host}:{peername[1]}", address, proxy=_in(address, proxies))


def behind(proxy: ClientAddress, headers: Headers, proxies: Sequence[Network]) -> ClientAddress:
    """Whom `proxy` speaks for, by the head of its request: the right-most address that is no trusted proxy's.

    All further to the left was written by whoever that is, and may be invented. `X-Forwarded-For` goes before
    `Forwarded`. A proxy that says nothing usable stands for itself.
    """
    lists: dict[bytes, list[str]] = {b"x-forwarded-for": [], b"forwarded": []}
    for name, value in headers:
        if name in lists:
            lists[name].append(value.decode("latin-1"))
    told = [part.strip() for value in lists[b"x-forwarded-for"] for part in value.split(",")]
    if not told:
        told = [_for(part) for value in lists[b"forwarded"] for part in value.split(",")]
    found = None
    for text in reversed(told):
        address = _address(text)
        if address is None:
            break
        found = address
        if not _in(address, proxies):
            break
    if found is None:
        return ClientAddress(proxy.shown, proxy.source, proxy.limited)
    return _from_ip(str(found), found)


def _from_ip(shown: str, address: IPv4Address | IPv6Address, *, proxy: bool = False) -> ClientAddress:
    source = str(ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
    return ClientAddress(shown, source, not address.is_loopback, proxy)


def _for(element: str) -> str:
    """The `for=` of one element of a `Forwarded` header (RFC 7239), unquoted."""
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, perhaps with a port or in brackets; None for anything else, such as `unknown`."""
    host = text.partition("%")[0]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def _in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
