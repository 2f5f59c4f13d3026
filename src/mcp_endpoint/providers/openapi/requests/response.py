"""An HTTP response as the result of a tool: JSON as structured content, and a short text that a model reads. Pure."""

import base64
import json
from collections.abc import Mapping

from mcp_endpoint.net.http_answer import HttpAnswer, is_json
from mcp_endpoint.providers.local.tool_spec import failed
from mcp_endpoint.wire.text import clean

LONGEST_TEXT = 8000
"""Characters of a result's text; the structured content beside it is whole."""


def result(answer: HttpAnswer) -> Mapping[str, object]:
    """The result of `tools/call` for an answer that is no error."""
    if answer.status >= 300:
        return failed(f"HTTP {answer.status}: 重定向，未跟随 / a redirect that is not followed")
    if not answer.body:
        return _text(f"完成 / done (HTTP {answer.status})")
    if is_json(answer.media_type):
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            return _text(answer.text)
        structured = value if isinstance(value, dict) else {"result": value}
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return _text(text) | {"structuredContent": structured}
    if answer.media_type.startswith(("image/", "audio/")) and answer.media_type != "image/svg+xml":
        data = base64.b64encode(answer.body).decode()
        kind = answer.media_type.partition("/")[0]
        return {"content": [{"type": kind, "data": data, "mimeType": answer.media_type}]}
    if _is_text(answer):
        return _text(answer.text)
    shown = clean(answer.media_type, 80) or "?"
    return _text(f"{len(answer.body)} 字节，类型 {shown} / {len(answer.body)} bytes of {shown}")


def _text(text: str) -> dict[str, object]:
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… （共 {len(text)} 个字符，已截断 / cut; {len(text)} characters in all）"
    return {"content": [{"type": "text", "text": text}]}


def _is_text(answer: HttpAnswer) -> bool:
    if answer.is_binary:
        return False
    kind = answer.media_type
    return not kind or kind.startswith("text/") or kind.endswith(("xml", "yaml", "javascript", "x-www-form-urlencoded"))


def error_text(answer: HttpAnswer) -> str:
    """`HTTP 404 Not Found: the body's own words`, and a hint where the credentials are what is wrong."""
    hint = ""
    if answer.status in (401, 403):
        hint = "（凭据在该工具来源的设置中 / credentials are in the provider's settings, headers or env）"
    return answer.told() + hint
