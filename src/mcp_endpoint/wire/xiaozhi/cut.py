"""Results of tools made short enough for a device to read out.

Text is cut behind a sentence, never inside a character; who asked hears that there was more.
"""

import re

from msgspec import Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.envelope import members

NOTES = {"zh": "（内容过长，已截断）", "en": " (The rest was too long and is left out.)"}

_SENTENCE_END = re.compile(r"[。！？!?…；;\n]+[”’」』)）\"']*|\.(?=\s|$)")
_FRAME = 64
"""Bytes that the JSON around one text needs at most."""


def shortened(result: Raw | bytes, limit: int, language: str) -> Raw | bytes:
    """The result of a call in at most `limit` bytes; the very same if it is not longer, or has no text.

    Texts come before what is none, and `structuredContent`, which says for programs what they say, stays whole or goes.
    """
    if len(result) <= limit:
        return result
    whole = members(result)
    head = mcp.read_call_result(result)
    if whole is None or head is None or not any(block.type == "text" for block in head.content):
        return result
    if len(whole.get("structuredContent", b"")) > limit // 2:
        del whole["structuredContent"]
    blocks = list(zip(head.content, decode(whole.pop("content"), type=list[Raw]), strict=True))
    room = limit - len(encode(whole)) - len('"content":[],')
    texts = sum(len(raw) + 1 for block, raw in blocks if block.type == "text")
    kept = _with_all_texts(blocks, room - texts) if texts <= room else _with_some_text(blocks, room, NOTES[language])
    return encode(whole | {"content": Raw(encode(kept))})


_Blocks = list[tuple[mcp.ContentHead, Raw]]


def _with_all_texts(blocks: _Blocks, room: int) -> list[Raw]:
    """Every text, and of the other blocks what fits beside them."""
    kept: list[Raw] = []
    for block, raw in blocks:
        if block.type != "text":
            if len(raw) + 1 > room:
                continue
            room -= len(raw) + 1
        kept.append(raw)
    return kept


def _with_some_text(blocks: _Blocks, room: int, note: str) -> list[Raw]:
    """The first texts, the last of them cut: what comes behind it would be taken for its end."""
    kept: list[Raw] = []
    for block, raw in blocks:
        if block.type != "text":
            continue
        if len(raw) + 1 > room - _FRAME - len(encode(note)):
            kept.append(Raw(encode({"type": "text", "text": cut(block.text, room - _FRAME, note)})))
            break
        kept.append(raw)
        room -= len(raw) + 1
    return kept


def cut(text: str, room: int, note: str) -> str:
    """As many whole sentences as fit `room` bytes of JSON together with the note; else as many characters."""
    room = max(room - len(encode(note)), 0)
    low, high = 0, len(text)
    while low < high:  # how many bytes a character needs depends on it
        middle = (low + high + 1) // 2
        if len(encode(text[:middle])) - 2 <= room:
            low = middle
        else:
            high = middle - 1
    fitting = text[:low]
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, low)]
    sentences = fitting[: ends[-1]] if ends and ends[-1] > low // 2 else fitting
    return sentences.rstrip() + note
