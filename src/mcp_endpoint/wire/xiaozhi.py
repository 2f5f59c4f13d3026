"""What the Xiaozhi server needs said differently from the rest (wire contract, section 5).

It is the one client for which a result is not passed on as the bytes it came in.
"""

from msgspec import UNSET, Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.envelope import NULL, members

XIAOZHI = "XiaozhiMCPEndpointClient"
"""`clientInfo.name` of the Xiaozhi server."""
CONSOLE = "xz-mcp-broker"
"""`clientInfo.name` of the management console."""
LIST_ID = b"2"
"""The id of its `tools/list`, and of the list it may be given unasked."""
FRAME_LIMIT = 1_048_576
"""Bytes of a frame; a longer one would close the socket of the Xiaozhi server, and the console's too."""


def for_xiaozhi(result: Raw) -> Raw | bytes:
    """A `tools/call` result as the Xiaozhi server reads it: the text of an error in a member `error`, text first."""
    head = mcp.read_call_result(result)
    if head is None:
        return result
    first_text = next((place for place, block in enumerate(head.content) if block.type == "text"), None)
    needs_error = head.is_error and (head.error is UNSET or head.error == NULL) and first_text is not None
    if not needs_error and not first_text:
        return result
    whole = members(result)
    assert whole is not None, "a result with a readable head is an object"
    if needs_error:
        whole["error"] = Raw(encode("\n".join(block.text for block in head.content if block.type == "text")))
    if first_text:
        content = decode(whole["content"], type=list[Raw])
        content.insert(0, content.pop(first_text))
        whole["content"] = Raw(encode(content))
    return encode(whole)
