"""Which proxy leads to a URL: one that is named, or what the environment says. Pure.

A proxy of the environment is left out for the hosts of NO_PROXY; one that is named is for all that is connected to.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_PLAIN = {"ws": "http", "wss": "https"}


@dataclass(frozen=True)
class Proxy:
    """A proxy that is connected to in place of a host."""

    scheme: str
    """http, https or socks5."""
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Where it is, to be told."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


Route = Callable[[str, str, int], Proxy | None]
"""From scheme, host and port of a URL to the proxy that leads there; None for the direct way."""


def direct(scheme: str, host: str, port: int) -> None:
    """Never a proxy."""


def read_proxy(text: str) -> Proxy:
    """The proxy that a URL names; one without a scheme speaks HTTP. Raises ValueError without the URL in it."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in _PORTS or not host or port == 0:
        raise ValueError("it must be a URL of http, https or socks5")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy("socks5" if scheme == "socks5h" else scheme, host, port or _PORTS[scheme], user, password)


def through(proxy: Proxy) -> Route:
    """Always this proxy."""
    return lambda scheme, host, port: proxy


def as_environment_says(environ: Mapping[str, str]) -> Route:
    """By HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. Raises ValueError where one of them names no proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        if named := environ.get(name) or environ.get(name.upper()):
            read_proxy(named)
    return lambda scheme, host, port: _of_environment(scheme, host, port, environ)


def _of_environment(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    scheme = _PLAIN.get(scheme, scheme)
    for name in (f"{scheme}_proxy", "all_proxy"):
        said = environ.get(name) or environ.get(name.upper())
        if said:
            left_out = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
            return None if is_left_out(host, port, left_out) else read_proxy(said)
    return None


def is_left_out(host: str, port: int, no_proxy: str) -> bool:
    """Whether a list as in NO_PROXY names a host: `*`, a name and all below it, an address, a network, each `:port`."""
    host = host.strip("[]").rstrip(".").lower()
    for item in re.split(r"[\s,;]+", no_proxy.lower()):
        name, colon, own_port = item.rpartition(":")
        if not colon or not own_port.isdigit() or (":" in name and not name.endswith("]")):
            name, own_port = item, ""
        name = name.strip("[]").lstrip("*").lstrip(".").rstrip(".")
        if own_port and int(own_port) != port:
            continue
        if item == "*" or (name and (host == name or host.endswith("." + name) or _is_within(host, name))):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False
