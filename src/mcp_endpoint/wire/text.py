"""Words of third parties that become names and descriptions of tools: bounded, and without control characters."""

import hashlib
import re
import unicodedata

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]+")
LONGEST_NAME = 64


def clean(text: str, limit: int) -> str:
    """`text` without control, format and private characters, line breaks kept; at most `limit` characters.

    A longer one is cut at a word if it can be, and ends with "…".
    """
    kept = "".join(
        character
        for character in text[: 4 * limit].replace("\r\n", "\n").replace("\r", "\n")
        if character == "\n" or unicodedata.category(character)[0] != "C"
    )
    kept = re.sub(r"\n{3,}", "\n\n", _SPACE.sub(" ", kept)).strip()
    if len(kept) <= limit and len(text) <= 4 * limit:
        return kept
    cut = kept[: limit - 1]
    word = cut.rpartition(" ")[0]
    return (word if len(word) > limit // 2 else cut).rstrip() + "…"


def slug(text: str) -> str:
    """`text` as a name of a tool: letters, digits, `_` and `-`, at most 64, a longer one with a hash at its end."""
    name = _NOT_IN_NAMES.sub("_", text).strip("_")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"
