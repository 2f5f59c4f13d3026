"""What goes wrong on the way to a server, as the reason for which its source stops: the one place that turns it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mcp_endpoint.language import Bilingual
from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.providers.source import Stopped, StopReason

_WHY = {
    NetFault.UNREACHABLE: StopReason.UNREACHABLE,
    NetFault.NO_TLS: StopReason.UNREACHABLE,
    NetFault.CERTIFICATE: StopReason.CERTIFICATE,
    NetFault.PROXY_FAILED: StopReason.PROXY_FAILED,
    NetFault.PRIVATE_ADDRESS: StopReason.PRIVATE_ADDRESS,
    NetFault.FAKE_ADDRESS: StopReason.FAKE_ADDRESS,
    NetFault.REDIRECTED: StopReason.REDIRECTED,
    NetFault.CONNECTION_LOST: StopReason.CONNECTION_LOST,
    NetFault.TOO_LONG: StopReason.FRAME_TOO_LONG,
    NetFault.ENCODED_TWICE: StopReason.NOT_MCP,
}
_TODO = {
    NetFault.NO_TLS: Bilingual(
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
