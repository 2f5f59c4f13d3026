"""What a client is given of a tool's result."""

from sys import maxsize

from msgspec import Raw

from mcp_endpoint.broker.call import Caller
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, FRAME_LIMIT, XIAOZHI, for_xiaozhi
from mcp_endpoint.wire.xiaozhi.cut import shortened
from mcp_endpoint.wire.xiaozhi.spoken import spoken

AROUND_RESULT = len(wire.result(b"", b""))
"""Bytes of an answer beside its result and its id."""
OPENS_OBJECT = ord("{")
"""The first byte of a value that is an object. Where each call comes by, it is looked at without a function's cost."""


def is_object(value: Raw) -> bool:
    """Whether a JSON value is an object."""
    return memoryview(value)[0] == OPENS_OBJECT


def readable(device: Caller, id_: bytes, result: Raw) -> Raw:
    """The result of a tool as its client can read it, and as much of it as it can take beside the id."""
    limits = device.agent.limits
    # Programs that come by HTTP have time and room; a device reads its results out.
    limit = limits.max_result_bytes if device.link.call_timeout is None else maxsize
    if device.client.name in (XIAOZHI, CONSOLE):
        limit = min(limit, FRAME_LIMIT - AROUND_RESULT - len(id_))
    if not is_object(result):
        result = Raw(spoken(result, limits.language))
    make = for_xiaozhi if device.client.name == XIAOZHI else shortened
    return Raw(make(result, limit, limits.language))
