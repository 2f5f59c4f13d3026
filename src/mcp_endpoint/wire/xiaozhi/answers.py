"""What the Xiaozhi server needs said differently from the rest (docs/protocol.md, section 7.2).

It is the one client for which a result is not passed on as the bytes it came in.
"""

from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.envelope import NULL, members
from mcp_endpoint.wire.xiaozhi.cut import NOTES, cut, shortened
from mcp_endpoint.wire.xiaozhi.spoken import can_be_said, spoken
from mcp_endpoint.wire.xiaozhi.unspeakable import without_data

XIAOZHI = "XiaozhiMCPEndpointClient"
"""`clientInfo.name` of the Xiaozhi server."""
CONSOLE = "xz-mcp-broker"
"""`clientInfo.name` of the management console."""
LIST_ID = b"2"
"""The id of its `tools/list`, and of the list it may be given unasked."""
FRAME_LIMIT = 1_048_576
"""Bytes of a frame; a longer one would close the socket of the Xiaozhi server, and the console's too."""


def for_xiaozhi(result: Raw | bytes, limit: int, language: str) -> Raw | bytes:
    """A `tools/call` result as the Xiaozhi server reads it, in at most `limit` bytes.

    It takes the first block for a text and looks at no other; of an error it takes the member `error` alone, which no
    specification has.
    """
    head = mcp.read_call_result(result)
    if head is None or not can_be_said(head):
        result = spoken(result, language)
        head = mcp.read_call_result(result)
        assert head is not None, "what can be said is readable"
    if head.is_error:
        return _with_error(result, head, limit, language)
    if len(result) <= limit:
        return result
    whole = members(result) or {}
    return shortened(encode({"content": whole["content"]}), limit, language)  # it reads nothing else


def error_for_xiaozhi(error: Raw | bytes, limit: int, language: str) -> Raw | bytes:
    """A tool program's error with a message that can be said, in at most `limit` bytes: nothing else of it is."""
    facts = members(error) or {}
    text = mcp.string(facts.get("message")) or ""
    said = without_data(text, language)
    if said is text and len(error) <= limit:
        return error
    made = encode(facts | {"message": said})
    if len(made) <= limit:
        return made
    room = limit - 64
    message = said if len(encode(said)) <= room else cut(said, room, NOTES[language])
    return encode({"code": facts["code"], "message": message})


def _with_error(result: Raw | bytes, head: mcp.CallResultHead, limit: int, language: str) -> Raw | bytes:
    """The result of a call that failed, with its text in `error` as well."""
    told = NULL if head.error is UNSET else head.error
    text = mcp.string((members(told) or {}).get("message", told)) or ""
    if text.strip() and mcp.string(told) is not None and len(result) <= limit:
        return result
    if not text.strip():
        text = "\n".join(block.text for block in head.content)
    whole = members(result) or {}
    made = encode(whole | {"error": Raw(encode(text))})
    if len(made) <= limit:
        return made
    half = limit // 2
    content = members(shortened(encode({"content": whole["content"]}), half, language)) or {}
    text = cut(text, half - 64, NOTES[language]) if len(encode(text)) > half - 64 else text
    return encode(content | {"isError": True, "error": text})
