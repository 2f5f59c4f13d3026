"""Which addresses may be connected to: public ones, and private ones that settings list.

A URL names a host, and whoever runs that host's DNS decides what the name means at this moment. So the name is resolved
here, what it resolved to is checked, and the connection is made to the checked address, never to the name again.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.settings.values import Network

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""From host and port to addresses as texts. Raises OSError where the name is not known."""

RESOLVE_TIMEOUT = 10.0
"""Seconds a name may take to resolve."""
MOST_ADDRESSES = 8
"""Addresses of one host that are tried; a name may have any number."""

_FAKE = tuple(map(ip_network, ("198.18.0.0/15", "fc00::/18", "fdfe:dcba:9876::/64", "240.0.0.0/8")))
"""What proxy programs give out by default in place of real addresses (fake-ip): nothing else is there to be named."""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, and so is every IPv4 address that is wrapped up in it."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    inner = _wrapped(address)
    if inner is not None:
        return is_public(inner)
    return address in _GLOBAL_UNICAST and address.is_global


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to an IPv6 address go to in the end, where it is one of a translation."""
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


@dataclass(frozen=True)
class AllowedAddresses:
    """The private addresses that may be connected to."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    """Names in lower case; what one of them resolves to may be private."""

    @classmethod
    def of(cls, entries: Iterable[str]) -> "AllowedAddresses":
        """Read `allow_private`: addresses, networks (`192.168.0.0/16`) and host names (`nas.lan`).

        Raises ValueError for an entry that is none of them, and for a network with bits set behind its prefix.
        """
        networks: list[Network] = []
        hosts: set[str] = set()
        for entry in entries:
            text = entry.strip().strip("[]")
            try:
                networks.append(ip_network(text))
            except ValueError:
                if "/" in text or ":" in text or not text or any(character.isspace() for character in text):
                    raise ValueError(
                        f"{entry!r} is no address, no network such as 192.168.0.0/16 and no host name"
                    ) from None
                hosts.add(_plain(text))
        return cls(tuple(networks), frozenset(hosts))

    def __call__(self, host: str, address: Address) -> bool:
        """Whether `host` may be connected to at `address`."""
        plain = (address.version == 6 and address.ipv4_mapped) or address
        return is_public(address) or _plain(host) in self.hosts or any(plain in network for network in self.networks)


def _plain(host: str) -> str:
    return host.rstrip(".").lower()


async def look_up(host: str, port: int) -> list[str]:
    """What the system's resolver says, in its order. Raises OSError, and UnicodeError for a name that can be none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def checked_addresses(
    host: str, port: int, allowed: Callable[[str, Address], bool], resolve: Resolve = look_up
) -> list[str]:
    """The addresses of `host` that may be connected to, the preferred one first; at least one, at most 8.

    Raises NetError: UNREACHABLE where the name is not known or takes longer than 10 s, or the port is none;
    PRIVATE_ADDRESS or FAKE_ADDRESS where none of its addresses is allowed.
    """
    if not 0 < port < 65536:
        raise NetError(NetFault.UNREACHABLE, f"there is no port {port}")
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            found = await resolve(host, port)
    except TimeoutError:
        raise NetError(NetFault.UNREACHABLE, f"the name {host} was not resolved within {RESOLVE_TIMEOUT:g} s") from None
    except (OSError, UnicodeError):
        raise NetError(NetFault.UNREACHABLE, f"the name {host} is not known") from None
    good = [text for text in found if allowed(host, ip_address(text))]
    if not good:
        raise refused_address(host, found)
    return good[:MOST_ADDRESSES]


def refused_address(host: str, found: Sequence[str]) -> NetError:
    """Why `host` is not connected to at any of the addresses that were found, and what its owner may add.

    Behind an address that a proxy program made up may be any host, one of the local network too; so it is for the owner
    to say that they are meant.
    """
    for text in found:
        address = ip_address(text)
        for network in _FAKE:
            if address in network:
                return NetError(NetFault.FAKE_ADDRESS, f'"allow_private": ["{network}"]; {host} is {text}')
    is_at = f"; {host} is {found[0]}" if found else ""
    return NetError(NetFault.PRIVATE_ADDRESS, f'"allow_private": ["{host}"]{is_at}')
