"""Members of an entry of an `mcpServers` file, read one by one in the form that this program documents.

What is not in that form is a `BadEntry`, which names the member and says what it has to be. What other programs write
in its stead is put into that form before (`foreign_entries.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcp_endpoint.logs.redaction import quote_peer

MOST_SECONDS = 86_400.0
MOST_BYTES = 64 * 1024 * 1024
LONGEST_TEXT = 2000
"""Characters of a short text, such as an alias."""


@dataclass(frozen=True)
class Remark:
    """Something to be said of a member of an entry (of the entry itself, where it is ""), without its value."""

    member: str
    en: str
    zh: str

    def told(self) -> dict[str, str]:
        """The member and what there is to say of it, in both languages; names of members may be anything."""
        place = quote_peer(self.member, 100)
        # In a log, what follows "authorization:" is taken for a key and hidden.
        colon = "" if place.lower().endswith("authorization") else ":"
        return {
            "member": place,
            "zh": quote_peer(f"{place}：{self.zh}" if place else self.zh, 400),
            "en": quote_peer(f"{place}{colon} {self.en}" if place else self.en, 400),
        }


class BadEntry(ValueError):
    """An entry, or a member of it, that is not as it must be; in English and in Chinese."""

    def __init__(self, member: str, en: str, zh: str) -> None:
        super().__init__(en)
        self.member = member
        self.en = en
        self.zh = zh

    @property
    def remark(self) -> Remark:
        """What is wrong, to be kept."""
        return Remark(self.member, self.en, self.zh)


def flag(entry: Mapping[str, Any], member: str, default: bool = False) -> bool:
    """True or false."""
    value = entry.get(member, default)
    if not isinstance(value, bool):
        raise BadEntry(member, "must be true or false", "应为 true 或 false")
    return value


def text(entry: Mapping[str, Any], member: str) -> str:
    """A short text; "" if there is none."""
    value = entry.get(member, "")
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise BadEntry(member, "must be a string", "应为字符串")
    return value


def needed(entry: Mapping[str, Any], member: str, en: str, zh: str) -> str:
    """A text that must be there; `en` and `zh` say what it is."""
    value = entry.get(member)
    if not isinstance(value, str) or not value.strip():
        raise BadEntry(member, f"must be {en}", f"应为{zh}")
    return value


def words(entry: Mapping[str, Any], member: str) -> tuple[str, ...] | None:
    """A list of texts, or one text; None if there is none."""
    value = entry.get(member)
    if value is None:
        return None
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(word, str) and word for word in found):
        raise BadEntry(member, 'must be a list of strings, such as ["a", "b"]', '应为字符串列表，例如 ["a", "b"]')
    return tuple(found)


def texts(entry: Mapping[str, Any], member: str) -> Mapping[str, str]:
    """Texts by their names."""
    value = entry.get(member, {})
    if not isinstance(value, dict):
        raise BadEntry(member, 'must be an object of strings, such as {"a": "b"}', '应为对象，例如 {"a": "b"}')
    for name, one in value.items():
        if not isinstance(one, str):
            raise BadEntry(f"{member}.{name}", 'must be a string, such as "b"', '应为字符串，例如 "b"')
    return value


def seconds(entry: Mapping[str, Any], member: str) -> float | None:
    """A length of time; None if there is none."""
    value = entry.get(member)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_SECONDS:
        raise BadEntry(member, f"must be seconds, above 0 and at most {MOST_SECONDS:.0f}", "应为大于 0 的秒数")
    return float(value)


def size(entry: Mapping[str, Any], member: str) -> int | None:
    """A number of bytes; None if there is none."""
    value = entry.get(member)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1024 <= value <= MOST_BYTES:
        raise BadEntry(member, f"must be bytes, from 1024 to {MOST_BYTES}", f"应为 1024 到 {MOST_BYTES} 的字节数")
    return value
