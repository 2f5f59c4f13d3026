"""The text of an OpenAPI document, JSON or YAML, as plain values; bounded.

What servers and people wrap a document in is taken off before: gzip, a JSON string that holds it, base64 (springdoc).
"""

import base64
import binascii
import codecs
import json
import math
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mcp_endpoint.providers.openapi.document.values import BadDocument, reference
from mcp_endpoint.providers.openapi.document.yaml_text import read_yaml
from mcp_endpoint.wire.text import clean

MOST_VALUES = 4_000_000
"""Values in all documents of an API, those counted again that a YAML alias repeats."""
DEEPEST = 120
LARGEST_TEXT = 32 * 1024 * 1024
"""Bytes of a text that was compressed."""
MOST_WRAPPINGS = 4
MOST_DOUBLED = 5
"""Keys that are there twice, and are told."""
LARGEST_FAULTY_JSON = 4 * 1024 * 1024
"""Characters of a text that is no JSON by a hair, and is looked at once more."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]{16,}=*\s*")
_JSON_OBJECT = re.compile(r'\s*\{\s*["}]')


class WebPage(BadDocument):
    """It is a web page or another text of HTML or XML; `text` may say where a document is."""

    def __init__(self, text: str) -> None:
        super().__init__("it is a web page (HTML or XML) and no OpenAPI document")
        self.text = text


class ValueReader:
    """Reads texts into plain JSON values whose keys are texts, up to a limit that holds for all of them together."""

    def __init__(self) -> None:
        self._left = MOST_VALUES
        self.doubled: list[str] = []
        """Keys that an object has twice; the last one counts."""

    def read(self, data: bytes, absolute: Callable[[str], str]) -> Any:
        """The values of a text, each reference in it as `absolute` writes it. Raises BadDocument, WebPage."""
        return self._copy(_parse(data, self._double), 0, absolute)

    def _double(self, key: str) -> None:
        if len(self.doubled) < MOST_DOUBLED:
            self.doubled.append(clean(key, 100))

    def _copy(self, node: Any, depth: int, absolute: Callable[[str], str]) -> Any:
        self._left -= 1
        if self._left < 0:
            raise BadDocument(f"it has more than {MOST_VALUES} values")
        if depth > DEEPEST:
            raise BadDocument(f"it is nested more than {DEEPEST} deep")
        if isinstance(node, str):
            return node if node.isascii() else _whole(node)
        if isinstance(node, dict):
            new = {_whole(str(key)): self._copy(value, depth + 1, absolute) for key, value in node.items()}
            if (pointer := reference(new)) is not None:
                new["$ref"] = absolute(pointer)
            return new
        if isinstance(node, list):
            return [self._copy(value, depth + 1, absolute) for value in node]
        if isinstance(node, float) and not math.isfinite(node):
            return None  # JSON has no such number; a limit that is none
        if node is None or isinstance(node, int | float):
            return node
        raise BadDocument(f"it has a value that JSON does not know ({type(node).__name__})")


def _whole(text: str) -> str:
    """A text whose half characters (`\\ud83d` alone) are U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _parse(data: bytes, doubled: Callable[[str], None]) -> Any:
    for _ in range(MOST_WRAPPINGS):
        text = _decoded(data).lstrip("\ufeff \t\r\n")
        match text[:1]:
            case "<":
                raise WebPage(text)
            case '"' if (inner := _json_string(text)) is not None:
                data = inner.encode(errors="replace")
            case "{" | "[":
                return _json(text, doubled)
            case _ if (found := _from_base64(text)) is not None:
                data = found
            case _:
                return read_yaml(text, doubled)
    raise BadDocument(f"it is wrapped up more than {MOST_WRAPPINGS} times")


def _decoded(data: bytes) -> str:
    if data[:2] == b"\x1f\x8b":
        data = _unzipped(data)
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:2]:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        name = encoding[:6].upper()
        raise BadDocument(f"it is not {name} (line {line}; is it GBK?): save it as UTF-8") from None


def _unzipped(data: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    try:
        text = unzip.decompress(data, LARGEST_TEXT + 1)
    except zlib.error:
        raise BadDocument("it is compressed, and broken") from None
    if len(text) > LARGEST_TEXT:
        raise BadDocument(f"it has more than {LARGEST_TEXT} bytes")
    if not unzip.eof:
        raise BadDocument("it is compressed, and cut short")
    return text


def _json_string(text: str) -> str | None:
    """What a JSON string holds, if the text is one: a YAML document may begin with a quote as well."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _from_base64(text: str) -> bytes | None:
    """The bytes that a text is base64 of, if they are the beginning of a document."""
    if not _BASE64.fullmatch(text):
        return None
    packed = re.sub(r"[\s=]", "", text).translate(str.maketrans("-_", "+/"))
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    begins = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    known = (b"{", b'"', b"\x1f\x8b", b"openapi", b"swagger", b"---", b"#")
    return data if begins.startswith(known) else None


def _json(text: str, doubled: Callable[[str], None]) -> Any:
    def an_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        new = dict(pairs)
        if len(new) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    doubled(key)
                seen.add(key)
        return new

    try:
        return json.loads(text, object_pairs_hook=an_object)
    except json.JSONDecodeError as error:
        why = BadDocument(f"line {error.lineno}, column {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:
        raise BadDocument(f"it is neither JSON nor YAML ({type(error).__name__})") from None
    # YAML knows braces as well, names without quotes in them, and a comma too many.
    read = None
    if len(text) <= LARGEST_FAULTY_JSON:
        with suppress(BadDocument):
            read = read_yaml(text, doubled)
    if not isinstance(read, dict) or (_JSON_OBJECT.match(text) and not isinstance(read.get("paths"), dict)):
        raise why
    return read
