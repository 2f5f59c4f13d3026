"""Errors of an answer as JSON-RPC 2.0 has them (its section 5.1): an integer for a code, a text for a message.

SDK clients drop an answer with any other error, and wait for it for ever. What a program meant is kept: its words
become the message, what else it said stays in `data`.
"""

import re

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType
from msgspec.json import Decoder, encode

from mcp_endpoint.wire.envelope import NULL, members

INTERNAL_ERROR = -32603
"""The code of an error that has none."""
MOST_CODE = 2**31
"""Codes below this, and above its negative, are read by all clients: some have 32 bits for them."""
LONGEST_MESSAGE = 2000
"""Characters of a message that is put together."""
WORDS = ("message", "msg", "error", "detail", "details", "description", "error_description", "reason", "title", "text")
"""Members in which programs say what happened, those that say most first."""
SAY_NOTHING = (b"", b"null", b"{}", b"[]", b"true", b"false")
EMPTY_RESULTS = (b"null", b"{}", b"[]", b'""', b"false")
"""Results that some programs write beside every error."""
NO_WORDS = "工具程序报告了错误，但没有说明原因。 / The tool program reported an error without saying what it is."


class _Proper(Struct, gc=False):
    code: int
    message: str


_INTEGER = re.compile(r"\s*-?[0-9]{1,10}\s*")
_proper = Decoder(_Proper).decode
_any = Decoder().decode


def is_none(error: Raw | UnsetType) -> bool:
    """Whether an answer has no error: it is absent, null, false, or the empty value that some programs always write."""
    return error is UNSET or bytes(error) in (b"null", b"false", b'""', b"{}", b"[]", b"0") or _is_zero(error)


def _is_zero(error: Raw) -> bool:
    """`{"code":0,"message":""}`, as languages without an absent value spell it."""
    if len(error) > 200 or bytes(error)[:1] != b"{":
        return False
    try:
        value = _any(error)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(value, dict) and not any(value.values())


def is_unread(error: Raw | UnsetType) -> bool:
    """Whether an error says that a request could not be read, so that its id was not known either (JSON-RPC 2.0, 5)."""
    try:
        return error is not UNSET and _proper(error).code in (-32700, -32600)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return False


def proper(error: Raw) -> Raw | bytes:
    """The very same if it is an error as the specification has it and says something, else one that says the same."""
    try:
        found = _proper(error)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return _made_of(error)
    well = -MOST_CODE <= found.code < MOST_CODE and bool(found.message.strip())
    return error if well else _made_of(error)


def _made_of(error: Raw) -> bytes:
    try:
        value = _any(error)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        value = None  # a number without end, or too deep: there are no words in it
    kept = members(error) or {}
    code = _code(value.get("code") if isinstance(value, dict) else value)
    made: dict[str, object] = {
        "code": INTERNAL_ERROR if code is None else code,
        "message": _words(value) or _spelled(kept) or NO_WORDS,
    }
    rest = {name: raw for name, raw in kept.items() if name not in ("message", "data") and raw != NULL}
    if code is not None:
        rest.pop("code", None)
    data = kept.get("data", NULL)
    if rest:
        made["data"] = rest if data == NULL else rest | {"data": data}
    elif data != NULL:
        made["data"] = data
    elif isinstance(value, list):
        made["data"] = error
    return encode(made)


def _code(value: object) -> int | None:
    """A code that was written as a text or as a float."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -MOST_CODE <= value < MOST_CODE:
        return value
    return None


def _words(value: object, depth: int = 0) -> str:
    """What a value says, as one text."""
    if isinstance(value, str):
        return value.strip()[:LONGEST_MESSAGE]
    if isinstance(value, list) and depth < 3:
        return "; ".join(filter(None, (_words(one, depth + 1) for one in value[:10])))[:LONGEST_MESSAGE]
    if isinstance(value, dict) and depth < 3:
        for name in (*WORDS, "data", "code") if depth else (*WORDS, "data"):
            words = _words(value.get(name), depth + 1)
            if words:
                return words
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""


def _spelled(facts: dict[str, Raw]) -> str:
    """What has no words, as it stands in the error."""
    for name in ("message", "data", "code"):
        spelled = bytes(facts.get(name, NULL)).strip(b'" ')
        if spelled not in SAY_NOTHING:
            return spelled.decode()[:LONGEST_MESSAGE]
    return ""
