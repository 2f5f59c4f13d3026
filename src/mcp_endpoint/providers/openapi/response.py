"""An HTTP response as the result of a tool: JSON as structured content, and a short text that a model reads. Pure."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from mcp_endpoint.providers.offer import failed
from mcp_endpoint.providers.text import clean

LONGEST_TEXT = 8000
"""Characters of a result's text; the structured content beside it is whole."""
LONGEST_MESSAGE = 1000
_MESSAGES = ("message", "error_description", "detail", "title", "error", "msg", "errors", "reason", "description")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    media_type: str
    """In lower case, without parameters."""
    body: bytes
    charset: str = "utf-8"


def result(answer: Answer) -> Mapping[str, object]:
    """The result of `tools/call` for an answer that is no error."""
    if answer.status >= 300:
        return failed(f"HTTP {answer.status}: 重定向，未跟随 / a redirect that is not followed")
    if not answer.body:
        return _text(f"完成 / done (HTTP {answer.status})")
    if _is_json(answer.media_type):
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            return _text(_decoded(answer))
        structured = value if isinstance(value, dict) else {"result": value}
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return _text(text) | {"structuredContent": structured}
    if answer.media_type.startswith(("image/", "audio/")) and answer.media_type != "image/svg+xml":
        data = base64.b64encode(answer.body).decode()
        kind = answer.media_type.partition("/")[0]
        return {"content": [{"type": kind, "data": data, "mimeType": answer.media_type}]}
    if _is_text(answer):
        return _text(_decoded(answer))
    shown = clean(answer.media_type, 80) or "?"
    return _text(f"{len(answer.body)} 字节，类型 {shown} / {len(answer.body)} bytes of {shown}")


def _text(text: str) -> dict[str, object]:
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… （共 {len(text)} 个字符，已截断 / cut; {len(text)} characters in all）"
    return {"content": [{"type": "text", "text": text}]}


def _is_json(media_type: str) -> bool:
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def _is_text(answer: Answer) -> bool:
    if b"\0" in answer.body[:1000]:
        return False
    kind = answer.media_type
    return not kind or kind.startswith("text/") or kind.endswith(("xml", "yaml", "javascript", "x-www-form-urlencoded"))


def _decoded(answer: Answer) -> str:
    try:
        return answer.body.decode(answer.charset, errors="replace")
    except LookupError:
        return answer.body.decode(errors="replace")


def error_text(answer: Answer) -> str:
    """`HTTP 404 Not Found: the body's own words`, and a hint where the credentials are what is wrong."""
    try:
        phrase = " " + HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    words = ""
    if _is_json(answer.media_type):
        try:
            words = _message(json.loads(answer.body), 0)
        except (ValueError, RecursionError):
            words = ""
    if not words and "html" not in answer.media_type and _is_text(answer):
        words = _decoded(answer)
    hint = ""
    if answer.status in (401, 403):
        hint = "（凭据在该工具来源的设置中 / credentials are in the provider's settings, headers or env）"
    said = clean(words, LONGEST_MESSAGE)
    return f"HTTP {answer.status}{phrase}{': ' + said if said else ''}{hint}"


def _message(value: Any, depth: int) -> str:
    """What a JSON body says went wrong: its message, wherever APIs put it; the whole of it where there is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and depth < 4:
        for key in _MESSAGES:
            if value.get(key):
                return _message(value[key], depth + 1)
    return json.dumps(value, ensure_ascii=False)
