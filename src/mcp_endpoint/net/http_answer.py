"""An HTTP answer that was read: its text, and what one with an error says in a line. Pure."""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from mcp_endpoint.wire.text import clean

LONGEST = 1000
"""Characters of a server's own words."""
_MESSAGES = ("message", "error_description", "detail", "title", "error", "msg", "errors", "reason", "description")
_TITLE = re.compile(r"<(title|h1)\b[^>]{0,200}>([^<]{1,400})<", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,400}>")


def is_json(media_type: str) -> bool:
    """Whether a kind of body is JSON, whatever else it is called."""
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


@dataclass(frozen=True)
class HttpAnswer:
    """Status and body of an answer, and what its headers say of them."""

    status: int
    media_type: str
    """In lower case, without parameters."""
    body: bytes
    charset: str = "utf-8"
    retry_after: str = ""
    """The header of this name."""

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes) -> "HttpAnswer":
        """Out of the headers as they came; their names may be asked for in any case."""
        kind, _, parameters = headers.get("Content-Type", "").partition(";")
        found = re.search(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", parameters, re.IGNORECASE)
        charset = found[1] if found else "utf-8"
        return cls(status, kind.strip().lower(), body, charset, headers.get("Retry-After", ""))

    @property
    def is_binary(self) -> bool:
        """Whether its body is surely no text."""
        return b"\0" in self.body[:1000]

    @property
    def text(self) -> str:
        """The body, decoded; what it cannot be is replaced."""
        try:
            return self.body.decode(self.charset, errors="replace")
        except LookupError:
            return self.body.decode(errors="replace")

    @property
    def own_words(self) -> str:
        """The server's own words: a message in JSON, the title of a page, or the text; "" where it is none."""
        if self.is_binary:
            return ""
        text = self.text.lstrip("\ufeff \r\n\t")
        if is_json(self.media_type) or text[:1] in ("{", "["):
            try:
                return clean(_message(json.loads(text), 0), LONGEST)
            except (ValueError, RecursionError):
                pass
        if "html" in self.media_type or text[:1] == "<":
            found = _TITLE.search(text)
            # The rest of a page is for people to look at, and may be a stack trace.
            text = html.unescape(found[2] if found else "" if "html" in self.media_type else _TAG.sub(" ", text))
        return clean(text, LONGEST)

    def told(self) -> str:
        """`HTTP 429 Too Many Requests: rate limited (Retry-After: 30)`."""
        try:
            phrase = " " + HTTPStatus(self.status).phrase
        except ValueError:
            phrase = ""
        said = self.own_words
        if said.lower() in ("", f"{self.status}{phrase}".lower(), phrase.strip().lower()):
            said = ""
        later = clean(self.retry_after, 60)
        return f"HTTP {self.status}{phrase}{': ' + said if said else ''}{f' (Retry-After: {later})' if later else ''}"


def _message(value: Any, depth: int) -> str:
    """What a JSON body says went wrong: its message, wherever APIs put it; the whole of it where there is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and depth < 4:
        for key in _MESSAGES:
            if value.get(key):
                return _message(value[key], depth + 1)
    return json.dumps(value, ensure_ascii=False)
