"""Whatever goes wrong on the way to a server is a reason for its source to stop."""

import pytest

from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.providers.net_errors import as_stopped
from mcp_endpoint.providers.source import Stopped, StopReason


@pytest.mark.parametrize("fault", NetFault)
def test_each_fault_has_a_reason(fault: NetFault) -> None:
    with pytest.raises(Stopped) as stopped, as_stopped():
        raise NetError(fault, "what was said")
    assert stopped.value.detail == "what was said"
    assert stopped.value.why.reason == {
        "no_tls": "unreachable",
        "too_long": "frame_too_long",
        "encoded_twice": "not_mcp",
    }.get(fault.name.lower(), fault.name.lower())


def test_a_port_without_tls_is_told_with_what_to_write() -> None:
    with pytest.raises(Stopped) as stopped, as_stopped():
        raise NetError(NetFault.NO_TLS, "it does not speak TLS on this port")
    assert stopped.value.why is StopReason.UNREACHABLE
    assert "http://" in stopped.value.sentences()[1]
