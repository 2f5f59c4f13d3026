"""What goes wrong on the way to a server, as the reason for which its source stops: the one place that turns it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.providers.source import Stopped, Why

_WHY = {
    NetFault.UNREACHABLE: Why.UNREACHABLE,
    NetFault.NO_TLS: Why.UNREACHABLE,
    NetFault.CERTIFICATE: Why.CERTIFICATE,
    NetFault.PROXY_FAILED: Why.PROXY_FAILED,
    NetFault.PRIVATE_ADDRESS: Why.PRIVATE_ADDRESS,
    NetFault.FAKE_ADDRESS: Why.FAKE_ADDRESS,
    NetFault.REDIRECTED: Why.REDIRECTED,
    NetFault.CONNECTION_LOST: Why.CONNECTION_LOST,
    NetFault.TOO_LONG: Why.FRAME_TOO_LONG,
    NetFault.ENCODED_TWICE: Why.NOT_MCP,
}
_TODO = {
    NetFault.NO_TLS: (
        "请检查 url 的端口，或改写为 http://、ws://",
        "check the port of its url, or write http:// or ws://",
    ),
}
"""What its owner can do where the reason alone would say something else."""


@contextmanager
def as_stopped() -> Iterator[None]:
    """Within it, a NetError is raised as Stopped."""
    try:
        yield
    except NetError as error:
        raise Stopped(_WHY[error.fault], error.detail, _TODO.get(error.fault)) from error
