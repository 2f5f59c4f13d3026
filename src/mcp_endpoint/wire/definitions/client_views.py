"""What each kind of client can take of a tool's definition."""

from enum import Enum

from msgspec import Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire.definitions.inlined_schema import PARTS, has_reference, inlined
from mcp_endpoint.wire.definitions.tool_schemas import INPUT, OUTPUT
from mcp_endpoint.wire.envelope import members

ROOM, ROOM_OF_ALL = 32 * 1024, 1024 * 1024
"""Bytes of what is put in place of the references of one tool, and of all of a list."""
LARGEST = 1_000_000
"""Bytes of a definition that still fits a page."""


class ClientKind(Enum):
    """Kinds of clients, by what they make of a list of tools."""

    XIAOZHI = "xiaozhi"
    """Keeps `properties` and `required` of an input's schema, and nothing of an output's. Its results may be cut."""
    DEVICE = "device"
    """Any other at the device door: its results may be cut, and are then not what an output's schema promised."""
    HANDSHAKE = "handshake"
    """Up to 2025-11-25 an output is an object, and SDKs refuse every tool of a list with another one."""
    STATELESS = "stateless"
    """Since 2026-07-28 an output may have any schema: it is shown all that a tool says."""


def shown(client: ClientKind, definitions: list[bytes]) -> list[bytes]:
    """Fit definitions of tools as a client of this kind can take them; the very same where that is all of them."""
    if client is ClientKind.STATELESS:
        return definitions
    if client is ClientKind.HANDSHAKE:
        return [one if _output_is_object(one) else without_output(one) for one in definitions]
    definitions = [without_output(one) for one in definitions]
    if client is ClientKind.XIAOZHI:
        room = min(ROOM, ROOM_OF_ALL // max(len(definitions), 1))
        return [_with_arguments_at_hand(one, room) for one in definitions]
    return definitions


def without_output(definition: bytes) -> bytes:
    """The definition of a tool whose answer may not keep what the schema of its output promises."""
    whole = (members(definition) if b'"outputSchema"' in definition else None) or {}
    if OUTPUT not in whole:
        return definition
    del whole[OUTPUT]
    return encode(whole)


def _output_is_object(definition: bytes) -> bool:
    if b'"outputSchema"' not in definition:
        return True
    output = members((members(definition) or {}).get(OUTPUT, Raw(b"{}"))) or {}
    return output.get("type") == Raw(b'"object"')


def _with_arguments_at_hand(definition: bytes, room: int) -> bytes:
    """Nothing about the arguments of a tool stands outside of `properties` and `required`."""
    if not any(b'"%b"' % word.encode() in definition for word in ("$ref", *PARTS)):
        return definition
    whole = members(definition) or {}
    schema = decode(whole[INPUT])
    if not has_reference(schema) and not any(word in schema for word in PARTS):
        return definition
    changed = encode(whole | {INPUT: Raw(encode(inlined(schema, room)))})
    return changed if len(changed) <= max(LARGEST, len(definition)) else definition
