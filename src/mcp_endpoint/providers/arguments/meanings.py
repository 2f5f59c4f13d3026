"""What a value of a call may have been meant as, whatever its schema: texts that are numbers, objects or nothing. Pure.

Models write JSON by habit and not by rule: numbers in quotes, objects as text, Python's spelling of them, an empty text
for what they leave out. Each function here knows one such habit, and returns nothing where a value shows none of it.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import DecodeError, Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire import envelope as wire

WORDS_FOR_NOTHING = frozenset({"null", "none", "nil", "undefined", "n/a", '""', "''", "[]", "{}"})
LONGEST_NUMBER = 400
"""Characters of a number in a text, and digits of one that is read."""
LONGEST_LITERAL = 20_000
"""Characters of an object or a list that is not quite JSON."""
MOST_QUOTED = 3
"""How often JSON may be quoted as a text of JSON."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_FENCE = re.compile(r"```[A-Za-z]*\s*(.*?)\s*```", re.DOTALL)
_SEPARATORS = re.compile(r"[,;|\n，；、]")
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[][{}:,])|(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"|(?P<word>[A-Za-z]+)|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?))",
    re.DOTALL,
)
_WORDS: Final = {"True": "true", "False": "false", "None": "null", "true": "true", "false": "false", "null": "null"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""} | {one: one for one in "\\'\"/"}


def is_blank(value: Any) -> bool:
    """Whether a value holds nothing: null, a text without a character to be seen, an empty list or object."""
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})


def is_word_for_nothing(value: Any) -> bool:
    """Whether a value is a text such as `None` or `[]`."""
    return isinstance(value, str) and len(value) < 20 and value.strip().lower() in WORDS_FOR_NOTHING


def number(value: Any) -> int | float | None:
    """The number that a text is."""
    text = value.strip() if isinstance(value, str) and len(value) <= LONGEST_NUMBER else ""
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return int(text)
    except ValueError:
        read = float(text)
        return read if abs(read) < float("inf") else None


def whole(value: Any) -> int | None:
    """The whole number that a text or a float such as 5.0 is, with every digit that it has."""
    if isinstance(value, float):
        text = repr(value)
    else:
        text = value.strip() if isinstance(value, str) and len(value) <= LONGEST_NUMBER else ""
    if not _NUMBER.fullmatch(text):
        return None
    exact = Decimal(text)
    if not exact:
        return 0
    if exact.adjusted() >= LONGEST_NUMBER or exact != exact.to_integral_value():
        return None
    return int(exact)


def truth(value: Any) -> bool | None:
    """The truth value that `true` or `false` in any case is."""
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def loose_truth(value: Any) -> bool | None:
    """The truth value that a word, or 0 or 1, stands for."""
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)[:20]) > 10:
        return None
    return _TRUTHS.get(str(value).strip().lower())


def spelled(value: Any) -> str | None:
    """A number or a truth value as the text that JSON has for it."""
    return encode(value).decode() if isinstance(value, bool | int | float) else None


def same_word(value: Any, words: list[Any]) -> str | None:
    """The only one of several texts that differs in no letter or digit."""
    wanted = letters(value) if isinstance(value, str) else ""
    found = {one for one in words if isinstance(one, str) and letters(one) == wanted} if wanted else set()
    return found.pop() if len(found) == 1 else None


def letters(text: str) -> str:
    """What two spellings of a word have in common: its letters and digits, in lower case."""
    return "".join(one for one in text.casefold() if one.isalnum())


def parts(text: str) -> list[str] | None:
    """The parts of a text that is a list with separators between; None for one without."""
    found = [one.strip() for one in _SEPARATORS.split(text)]
    return found if len(found) > 1 else None


def structure(value: Any) -> dict[str, Any] | list[Any] | None:
    """The object or the list that a text is: JSON, also in quotes or in a code fence, or Python's spelling of it."""
    text = value.strip() if isinstance(value, str) else ""
    for _ in range(MOST_QUOTED):
        if fenced := _FENCE.fullmatch(text):
            text = fenced[1]
        if text[:1] in ("{", "["):
            read = _decoded(text)
            read = read if read is not None else _decoded(_as_json(text))
            return read if isinstance(read, dict | list) else None
        quoted = _decoded(text) if text[:1] == '"' else None
        if not isinstance(quoted, str):
            return None
        text = quoted.strip()
    return None


def _decoded(text: str | None) -> Any:
    try:
        return None if text is None else decode(text)
    except (DecodeError, UnicodeError, RecursionError):
        return None


def _as_json(text: str) -> str | None:
    """Python's or JavaScript's spelling of a literal as that of JSON; None for what is neither."""
    if len(text) > LONGEST_LITERAL:
        return None
    made: list[str] = []
    at, end = 0, len(text)
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None:
            return None
        at = token.end()
        kind = token.lastgroup
        piece: str | None = token[kind] if kind else None
        if piece is not None and kind == "text":
            piece = _unquoted(piece)
        elif piece is not None and kind == "word":
            piece = _WORDS.get(piece)
        if piece is None:
            return None
        if piece in ("]", "}") and made and made[-1] == ",":
            made.pop()
        made.append(piece)
    return " ".join(made)


def _unquoted(text: str) -> str | None:
    """A quoted text as JSON quotes it; None for escapes that are nobody's."""
    known = True

    def meant(match: re.Match[str]) -> str:
        nonlocal known
        name = match[1]
        if name[0] in "ux" and len(name) > 1:
            return chr(int(name[1:], 16))
        known = known and name in _ESCAPES
        return _ESCAPES.get(name, "")

    plain = _ESCAPE.sub(meant, text[1:-1])
    try:
        return encode(plain).decode() if known else None
    except UnicodeEncodeError:
        return None


def arguments_of(raw: Raw | None) -> dict[str, Any] | None:
    """The arguments of a call: none for nothing in any disguise, those in a text for an object as text; else None."""
    if raw is None or raw == wire.NULL:
        return {}
    try:
        value = decode(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if is_blank(value) or is_word_for_nothing(value):
        return {}
    if isinstance(value, str):
        value = structure(value)
    return value if isinstance(value, dict) else None


def declared(given: Mapping[str, Any], names: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """What is given for declared names, one that is only spelled otherwise included, and which names are none."""
    names = frozenset(names)
    if len(given) == 1 and names:
        ((name, inside),) = given.items()
        if name not in names and isinstance(inside, dict) and inside and inside.keys() <= names:
            return dict(inside), []  # the arguments once more, in a wrapper such as {"input": …}
    known = {name: value for name, value in given.items() if name in names}
    if len(known) == len(given):
        return known, []
    free = _by_letters(names - known.keys())
    meant = _by_letters(given.keys() - known.keys())
    renamed = {meant[word]: free[word] for word in meant.keys() & free.keys() if meant[word] and free[word]}
    known |= {renamed[name]: value for name, value in given.items() if name in renamed}
    return known, [name for name in given if name not in names and name not in renamed]


def _by_letters(names: Iterable[str]) -> dict[str, str]:
    """Names by their letters; empty for letters that several have."""
    found: dict[str, str] = {}
    for name in names:
        word = letters(name)
        found[word] = "" if not word or word in found else name
    return found
