"""The addresses of a broker that its users copy: what they begin with, and the command `urls` that prints them."""

import socket

from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.tokens import Tokens, urls


def print_urls(settings: Settings, terminal: Terminal, port: int | None = None) -> None:
    """Print the addresses that hold secrets; `port` is the one that the system chose for `port = 0`.

    The labels are those that the original server prints and the tutorials quote: the same whatever the language.
    """
    base = base_url(settings, port)
    tool_url, _ = urls(base, Tokens(settings.server.key).mint(None))
    labelled = (
        f"智控台MCP参数配置: {base}/mcp_endpoint/health?key={settings.server.key}\n单模块部署MCP接入点: {tool_url}"
    )
    terminal.say(
        Bilingual(
            "=====下面的地址分别是智控台/单模块MCP接入点地址=====\n"
            f"{labelled}\n"
            "=====请根据具体部署选择使用，请勿泄露给任何人=====",
            "===== Two addresses: for the management console, and for a single-module Xiaozhi server =====\n"
            f"{labelled}\n"
            "===== Use the one that fits your installation, and keep it secret =====",
        )
    )


def base_url(settings: Settings, port: int | None = None) -> str:
    """What the printed addresses begin with, without a slash at its end; `port` as for `print_urls`."""
    server, scheme = settings.server, "https" if settings.server.tls_cert else "http"
    return server.public_url or f"{scheme}://{_reachable_host(server.host)}:{server.port if port is None else port}"


def _reachable_host(host: str) -> str:
    """A name for `host` that other machines can use: the address of the default route for 0.0.0.0."""
    if host not in ("0.0.0.0", "::"):
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only makes the system choose a source address
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
