"""Results of tools as things that can be said: text first, words for what is no text, and never nothing.

A device reads out what its model makes of the first text, or that text itself. Programs answer with much else:
pictures, links, objects, no content at all, content in forms of their own.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.envelope import NULL, members
from mcp_endpoint.wire.xiaozhi.unspeakable import Attachment, has_data, of_block, sentence, without_data

DONE = {"zh": "已完成。", "en": "Done."}
FAILED = {"zh": "工具调用失败，没有说明原因。", "en": "The tool failed and did not say why."}
RESULT = {"zh": "结果：", "en": "Result: "}
"""Stands before an object that would be taken for an instruction."""

ACTIONS = {"ERROR": True, "NOTFOUND": True, "RESPONSE": True, "REQLLM": True, "NONE": False, "RECORD": False}
"""What the Xiaozhi server does at a text that is an object with one of these as its `action`, and whether it needs a
`response` for it. Any other `action` makes its call fail."""

MOST_BLOCKS = 1000
"""Blocks of content that are looked at: a result of megabytes may have a million, and the first is what is said."""
_WRAPPERS = frozenset({"result", "toolResult", "text", "message", "error", "json"})
_ABOUT_ITSELF = frozenset({"content", "structuredContent", "isError", "_meta"})


class _Text(NamedTuple):
    text: str
    raw: Raw | None = None
    """The block as it came, if it is one of text."""


def can_be_said(head: mcp.CallResultHead) -> bool:
    """Whether a result's content is text alone, the first of which says something and is no instruction."""
    if not 0 < len(head.content) <= MOST_BLOCKS or not head.content[0].text.strip():
        return False
    for block in head.content:
        if block.type != "text" or has_data(block.text):
            return False
    return head.is_error or not is_instruction(head.content[0].text)


def spoken(result: Raw | bytes, language: str) -> bytes:
    """A result that cannot be said, with content that can."""
    whole = members(result)
    if whole is None:
        whole = {"content": Raw(result)}
    is_error = whole.get("isError", NULL) in (Raw(b"true"), Raw(b'"true"'), Raw(b"1"))
    texts: list[_Text] = []
    attachments: list[Attachment] = []
    for part in _parts(whole, language):
        if isinstance(part, Attachment):
            attachments.append(part)
        elif part.text.strip():
            texts.append(part)
    if attachments:
        texts.append(_Text(sentence(attachments, language)))
    if not texts:
        beside = _beside(whole, is_error=is_error, language=language)
        texts.append(_Text(beside if beside.strip() else (FAILED if is_error else DONE)[language]))
    if not is_error and is_instruction(texts[0].text):
        texts[0] = _Text(RESULT[language] + texts[0].text)
    blocks = [one.raw or Raw(encode({"type": "text", "text": one.text})) for one in texts]
    if "isError" in whole:
        whole["isError"] = Raw(b"true" if is_error else b"false")
    return encode(whole | {"content": Raw(encode(blocks))})


def is_instruction(text: str) -> bool:
    """Whether the Xiaozhi server takes a text for an instruction that it does not know, or cannot follow.

    It reads texts as Python's `json` does, and so does this.
    """
    if not text.lstrip().startswith("{") or ("action" not in text and "\\u" not in text):
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if "action" not in value:
        return False
    action, response = value["action"], value.get("response")
    needs_response = ACTIONS.get(action) if isinstance(action, str) else None
    return needs_response is None or (needs_response and not (isinstance(response, str) and response.strip()))


def _parts(whole: dict[str, Raw], language: str) -> Iterator[_Text | Attachment]:
    """What the content has, in its order; content that is no list is taken for its only block."""
    raw = whole.get("content", NULL)
    blocks = decode(raw, type=list[Raw])[:MOST_BLOCKS] if _first(raw) == b"[" else [raw]
    objects = [members(block) for block in blocks]
    if all(facts is None for facts in objects):
        yield _Text(without_data("\n".join(map(_text_of, blocks)), language))
        return
    for block, facts in zip(blocks, objects, strict=True):
        if facts is None:
            yield _Text(without_data(_text_of(block), language))
        else:
            yield _of_object(block, facts, language)


def _of_object(block: Raw, facts: dict[str, Raw], language: str) -> _Text | Attachment:
    kind = mcp.string(facts.get("type")) or ""
    inner = members(facts.get("resource", NULL)) or {}
    raw = facts.get("text", inner.get("text") if kind == "resource" else None)
    if raw is not None and (kind == "text" or _text_of(raw).strip()):
        text = _text_of(raw)
        said = without_data(text, language)
        as_it_came = said is text and kind == "text" and mcp.string(raw) is not None
        return _Text(said, block if as_it_came else None)
    thing = of_block(kind, facts)
    if thing is not None:
        return thing
    return _Text(_told({name: value for name, value in facts.items() if name != "type"}, language))


def _beside(whole: dict[str, Raw], *, is_error: bool, language: str) -> str:
    """What a result says beside its content: for programs, or in a form of its program's own."""
    structured = whole.get("structuredContent", NULL)
    if bytes(structured) not in (b"null", b"{}", b"[]"):
        inner = members(structured)
        return _told({"result": structured} if inner is None else inner, language)
    known = _ABOUT_ITSELF | {"error"} if is_error else _ABOUT_ITSELF
    return _told({name: value for name, value in whole.items() if name not in known}, language)


def _told(facts: dict[str, Raw], language: str) -> str:
    """An object as text; one that only wraps another value stands for that."""
    said = {name: value for name, value in facts.items() if value != NULL}
    if not said:
        return ""
    name, value = next(iter(said.items()))
    wraps = len(said) == 1 and name in _WRAPPERS
    return without_data(_text_of(value) if wraps else encode(said).decode(), language)


def _first(raw: Raw) -> bytes:
    """The byte that says what kind of value it is."""
    return bytes(memoryview(raw)[:1])


def _text_of(raw: Raw) -> str:
    """A JSON value as text: a text as it is, null as nothing, anything else as it is spelled."""
    text = mcp.string(raw)
    if text is not None:
        return text
    return "" if raw == NULL else bytes(raw).decode()
