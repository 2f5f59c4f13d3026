"""What each kind of client can take of a tool's definition."""

from enum import Enum

from msgspec import Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire.envelope import members
from mcp_endpoint.wire.inline import PARTS, alone, refers
from mcp_endpoint.wire.tool_schemas import INPUT, OUTPUT


class Client(Enum):
    """Kinds of clients, by what they make of a list of tools."""

    XIAOZHI = "xiaozhi"
    """Keeps `properties` and `required` of an input's schema, and nothing of an output's. Its results may be cut."""
    DEVICE = "device"
    """Any other at the device door: its results may be cut, and are then not what an output's schema promised."""
    HANDSHAKE = "handshake"
    """Up to 2025-11-25 an output is an object, and SDKs refuse every tool of a list with another one."""
    STATELESS = "stateless"
    """Since 2026-07-28 an output may have any schema: it is shown all that a tool says."""


def shown(client: Client, definition: bytes) -> bytes:
    """A fit definition of a tool as a client of this kind can take it; the very same if that is all of it."""
    if client is Client.STATELESS:
        return definition
    if b'"outputSchema"' in definition and (client is not Client.HANDSHAKE or not _output_is_object(definition)):
        definition = without_output(definition)
    return _with_arguments_at_hand(definition) if client is Client.XIAOZHI else definition


def without_output(definition: bytes) -> bytes:
    """The definition of a tool whose answer may not keep what the schema of its output promises."""
    whole = members(definition) or {}
    if OUTPUT not in whole:
        return definition
    del whole[OUTPUT]
    return encode(whole)


def _output_is_object(definition: bytes) -> bool:
    output = members((members(definition) or {}).get(OUTPUT, Raw(b"{}"))) or {}
    return output.get("type", Raw(b'"object"')) == Raw(b'"object"')


def _with_arguments_at_hand(definition: bytes) -> bytes:
    """Nothing about the arguments of a tool stands outside of `properties` and `required`."""
    if not any(b'"%b"' % word.encode() in definition for word in ("$ref", *PARTS)):
        return definition
    whole = members(definition) or {}
    schema = decode(whole[INPUT])
    if not refers(schema) and not any(word in schema for word in PARTS):
        return definition
    return encode(whole | {INPUT: Raw(encode(alone(schema)))})
