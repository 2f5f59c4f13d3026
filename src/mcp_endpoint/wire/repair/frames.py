"""Frames that are not JSON as RFC 8259 has it: what they can only mean, and whose they were where that is not clear.

Nothing here is called for a frame that `envelope.read` can read. What is found is JSON, byte for byte as it came but
for what was wrong: a member, a number or an escape that was right is never spelled anew. Each step is one pass over
the text, there are only so many attempts, and what takes longest is not done for the largest frames.
"""

import re
from json import JSONDecodeError, JSONDecoder
from typing import NamedTuple

from msgspec import UNSET, Raw
from msgspec.json import Decoder, decode, encode

from mcp_endpoint.errors.words import Worded
from mcp_endpoint.wire import envelope as wire

LARGE = 1024 * 1024
"""Bytes up to which a text is taken apart; of a larger one only characters are mended. A hostile MB takes 0.2 s."""
MOST_FRAMES = 100
"""Frames in one text."""
MOST_ATTEMPTS = 4
"""Objects in one text that are no frames."""


class Flaw(Worded):
    """What was wrong with a frame: (Chinese, English), to stand inside a sentence."""

    HALF_CHARACTER = ("含有半个字符（不成对的代理项）", "it has half a character in it (a lone surrogate)")
    NOT_A_NUMBER = ("含有 NaN 或 Infinity，这不是 JSON", "NaN and Infinity are not JSON")
    LOOSE = ("不是严格的 JSON", "it is not strictly JSON")
    OTHER_TEXT = ("同一行有其他文字", "other text stands on its line")
    SEVERAL = ("一行有多条消息，或一条消息分为多行", "it shares a line with others, or is spread over several")
    UTF16 = ("编码是 UTF-16，不是 UTF-8", "this is UTF-16, not UTF-8")
    GBK = ("不是 UTF-8（GBK？）", "this is not UTF-8 (GBK?)")
    NOT_UTF8 = ("不是 UTF-8（Latin-1？）", "this is not UTF-8 (Latin-1?)")
    TOO_DEEP = ("嵌套过深", "it is nested too deeply")
    CUT_SHORT = ("不完整，中途断开", "it is not whole, it breaks off")
    NOT_JSON = ("不是有效的 JSON", "it is not valid JSON")


class Lost(NamedTuple):
    """A frame that cannot be read, and whose it was."""

    id: bytes
    is_request: bool
    """Whether it has a method; else it was to be an answer."""
    flaw: Flaw


class Reading(NamedTuple):
    """What can be made of a text. Without frames and without one that is lost it is something that was printed."""

    frames: tuple[bytes, ...] = ()
    """Frames that can be read, in order."""
    flaws: tuple[Flaw, ...] = ()
    """What was wrong with them and is not any more."""
    lost: Lost | None = None
    goes_on: bool = False
    """Whether it begins with a JSON object that does not end in it: the rest may come on further lines."""


Step = tuple[bytes, tuple[Flaw, ...]]

BLANK = b" \t\r\n\x0b\x0c\0"
"""Bytes that say nothing before and behind a frame."""
_LEADING = re.compile(rb"(?:[ \t\r\n\x0b\x0c\0]|\xef\xbb\xbf)*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*+)\\u(?:([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_CUT_CHARACTER = re.compile(
    rb"(?:[\xe1-\xec\xee\xef][\x80-\xbf]|[\xf1-\xf3][\x80-\xbf]{1,2}|\xf0[\x90-\xbf][\x80-\xbf]?)(?![\x80-\xbf])"
)
_FOREIGN = re.compile("[^\0-\x7f\ufffd]")
_CONTROLS = bytes(range(32))
_TO_SPACES = bytes.maketrans(_CONTROLS, b" " * 32)
_COLOUR = re.compile(rb"\x1b(?:\[[0-9;:?]*+[ -/]*+[@-~]|[@-Z\\^_])")
_WIDE_SPACE = re.compile(rb"\xc2[\x85\xa0]|\xe2\x80[\x80-\x8b\xa8\xa9\xaf]|\xe3\x80\x80|\xef\xbb\xbf")
_NOT_A_NUMBER = re.compile(rb"(?<![\w.+-])[-+]?(?:NaN|nan|Infinity|infinity|inf)(?![\w.+-])")
_PYTHON_WORD = re.compile(rb"(?<![\w.+-])(?:True|False|None)(?![\w.+-])")
_PYTHON_WORDS = {b"True": b"true", b"False": b"false", b"None": b"null"}
_LAST_COMMA = re.compile(rb",(\s*+[}\]])")

_BETWEEN = " \t\r\n,[]"
"""What may stand between frames without being noticed: those of a batch are an array."""
_OBJECT = re.compile(r'\{[ \t\r\n]*+(?:"|\Z)')
_FRAME = re.compile(r'\{[ \t\r\n]*+"(?:jsonrpc|id|method|result|error)"[ \t\r\n]*+:')
_BEGUN = re.compile(r'\{[ \t\r\n]*+(?:\Z|"(?:jsonrpc|id|method|params|result|error)")')
_ID = r"""["']id["']\s*+:\s*+(-?\d{1,18}(?:\.0+)?|"[^"\\]{0,200}"|'[^'"\\]{0,200}')"""
_VERSION = r"""["']jsonrpc["']\s*+:\s*+["']?2\.0["']?"""
_MEMBER = r"""["'](method|params|result|error)["']"""
_HEAD = re.compile(rf"\{{\s*+(?:{_VERSION}\s*+,\s*+)?{_ID}\s*+,\s*+(?:{_VERSION}\s*+,\s*+)?{_MEMBER}")
_BEGINS = re.compile(rf"\{{\s*+(?:{_VERSION}\s*+,\s*+)?{_MEMBER}")
_TAIL = re.compile(rf"{_ID}\s*+(?:,\s*+{_VERSION}\s*+)?\}}\Z")
_TAIL_LENGTH = 400
_lenient = JSONDecoder(strict=False)
_batch = Decoder(list[Raw]).decode


def read(frame: bytes) -> Reading:
    """What can be made of a text that `envelope.read` cannot read, or that is not UTF-8."""
    if b"{" not in frame:
        return Reading()
    text, flaws, unreadable = _decoded(frame)
    if unreadable is not None:
        return Reading(lost=whose(text, unreadable))
    bare = text[_LEADING.match(text).end() :].rstrip(BLANK)  # type: ignore[union-attr]  # it matches nothing, too
    for step in (_unchanged, _whole_characters, _tidied) if len(bare) <= LARGE else (_unchanged, _whole_characters):
        bare, mended = step(bare)
        flaws += mended
        frames = _frames(bare)
        if frames is not None:
            return Reading(frames, flaws if frames else ())
    if len(bare) > LARGE:
        flaw = Flaw.NOT_A_NUMBER if b"NaN" in bare or b"Infinity" in bare else Flaw.NOT_JSON
        return Reading(lost=_by_its_ends(bare.decode(), flaw))
    return _search(bare, flaws)


def _decoded(frame: bytes) -> tuple[bytes, tuple[Flaw, ...], Flaw | None]:
    """The text in UTF-8 and what was mended; or a guess, and what is to be said, where it may be this or that."""
    if frame[:2] in (b"\xff\xfe", b"\xfe\xff") or b"{\0" in frame or b"\0{" in frame:
        wide = _from_utf16(frame)
        if wide is not None:
            return wide, (Flaw.UTF16,), None
    try:
        str(frame, "utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return frame, (), None
    whole = _cut_up(frame) if len(frame) <= LARGE else None
    if whole is not None:
        return whole, (Flaw.HALF_CHARACTER,), None
    try:
        return str(frame, "gb18030").encode(), (), Flaw.GBK
    except UnicodeError:
        return str(frame, "latin-1").encode(), (), Flaw.NOT_UTF8


def _cut_up(frame: bytes) -> bytes | None:
    """UTF-8 with U+FFFD in the place of what is half a character; None if it is not UTF-8 otherwise."""
    try:
        # Surrogates as if they were characters, one by one or in pairs: Java and old databases write them.
        text = str(frame, "utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
        return str(text, "utf-16-le", "replace").encode()
    except UnicodeDecodeError:
        pass
    try:
        # A character that somebody cut who counts bytes. Where no whole one is, it may be another encoding.
        cut = _CUT_CHARACTER.sub("\ufffd".encode(), frame)
        return cut if _FOREIGN.search(str(cut, "utf-8")) else None
    except UnicodeDecodeError:
        return None


def _from_utf16(frame: bytes) -> bytes | None:
    """A line of UTF-16 in UTF-8; who cut it at the byte of a line feed left half of that here or there."""
    for codec, one in (("utf-16-le", frame.removeprefix(b"\xff\xfe")), ("utf-16-be", frame.removeprefix(b"\xfe\xff"))):
        if len(one) % 2:
            one = one.removeprefix(b"\0") if codec == "utf-16-le" else one.removesuffix(b"\0")
        try:
            text = str(one, codec)
        except UnicodeDecodeError:
            continue
        if "{" in text and '"' in text:
            return text.encode()
    return None


def _unchanged(text: bytes) -> Step:
    return text, ()


def _whole_characters(text: bytes) -> Step:
    """U+FFFD in the place of each escaped surrogate that is no half of a pair."""
    mended = _SURROGATE.sub(lambda found: found[0] if found[2] else found[1] + rb"\ufffd", text)
    return mended, (Flaw.HALF_CHARACTER,) if mended != text else ()


def _tidied(text: bytes) -> Step:
    """Between strings only what JSON has there, and no control character within them."""
    strings = _STRING.findall(text)
    between = _STRING.sub(b'"', text)
    if between.count(b'"') != len(strings):
        return text, ()
    flaws: tuple[Flaw, ...] = ()
    bare = _COLOUR.sub(b"", between) if b"\x1b" in between else between
    if bare != between:
        flaws += (Flaw.OTHER_TEXT,)
    bare = bare.translate(_TO_SPACES)
    if not bare.isascii():
        bare = _WIDE_SPACE.sub(b" ", bare)
    numbers = _NOT_A_NUMBER.sub(b"null", bare)
    if numbers != bare:
        flaws += (Flaw.NOT_A_NUMBER,)
    words = _PYTHON_WORD.sub(lambda found: _PYTHON_WORDS[found[0]], numbers)
    words = _LAST_COMMA.sub(rb"\1", words)
    pieces = [b""] * (2 * len(strings) + 1)
    pieces[::2] = words.split(b'"')
    pieces[1::2] = strings
    whole = escaped = b"".join(pieces)
    for control in _CONTROLS:  # all that are left stand within strings
        escaped = escaped.replace(b"%c" % control, rb"\u%04x" % control)
    if words != numbers or escaped != whole:
        flaws += (Flaw.LOOSE,)
    return escaped, flaws


def _frames(text: bytes, *, quoted: bool = False) -> tuple[bytes, ...] | None:
    """The frames that a JSON text is; none if it is something else, None if it is no JSON."""
    try:
        return (text,) if _says_something(wire.read(text)) else ()
    except wire.NotJson:
        return None
    except wire.NotAnEnvelope:
        if text[:1] == b"[":
            parts = [bytes(part) for part in _batch(text)[:MOST_FRAMES]]
            return tuple(one for part in parts if part[:1] == b"{" for one in _frames(part) or ())
        if text[:1] == b'"':
            return () if quoted else _frames(decode(text).encode(), quoted=True)  # a frame that was encoded twice
        members = wire.members(text)
        return () if members is None else _with_texts(members)


def _with_texts(members: dict[str, Raw]) -> tuple[bytes, ...]:
    """The frame of an envelope whose `jsonrpc` is a number, or whose `method` is null."""
    if members.get("method") == wire.NULL:
        del members["method"]
    if "jsonrpc" not in members or bytes(members.get("method", Raw(b'"')))[:1] != b'"':
        return ()
    return _frames(encode(members | {"jsonrpc": Raw(b'"2.0"')})) or ()


def _says_something(envelope: wire.Envelope) -> bool:
    return envelope.method is not UNSET or envelope.result is not UNSET or envelope.error is not UNSET


def _search(text: bytes, flaws: tuple[Flaw, ...]) -> Reading:
    """The frames of a text that has other things in it too."""
    whole = text.decode()
    frames: list[bytes] = []
    lost: Lost | None = None
    place = attempts = 0
    beside = goes_on = False
    looks = _OBJECT
    while attempts < MOST_ATTEMPTS and len(frames) < MOST_FRAMES and (found := looks.search(whole, place)):
        start = found.start()
        beside = beside or bool(whole[place:start].strip(_BETWEEN))
        try:
            value, place = _lenient.raw_decode(whole, start)
        except (ValueError, RecursionError) as error:
            attempts += 1
            flaw, ends = _complaint(error, len(whole))
            goes_on = goes_on or (ends and start == 0 and bool(_BEGUN.match(whole)))
            lost = lost or _by_its_ends(whole[start:], flaw)
            looks, place, beside = _FRAME, start + 1, True
            continue
        chunk, mended = _tidied(whole[start:place].encode())
        one = _frames(chunk)
        if one:
            frames += one
            flaws += mended
            continue
        attempts, beside = attempts + 1, True
        if one is None:
            lost = lost or _whose(value, Flaw.NOT_JSON)
    if not frames:
        return Reading(lost=lost or _by_its_ends(whole, Flaw.NOT_JSON), goes_on=goes_on)
    if beside or whole[place:].strip(_BETWEEN):
        flaws += (Flaw.OTHER_TEXT,)
    if len(frames) > 1:
        flaws += (Flaw.SEVERAL,)
    return Reading(tuple(frames), flaws, lost)


def _complaint(error: Exception, length: int) -> tuple[Flaw, bool]:
    """What is wrong with an object that could not be read, and whether it is that the text ends within it."""
    if isinstance(error, JSONDecodeError):
        ends = error.pos >= length or error.msg.startswith("Unterminated")
        return Flaw.CUT_SHORT if ends else Flaw.NOT_JSON, ends
    return Flaw.TOO_DEEP if isinstance(error, RecursionError) else Flaw.NOT_JSON, False


def whose(frame: bytes, flaw: Flaw) -> Lost | None:
    """Whose a frame in UTF-8 is that cannot be taken; None where there is any doubt."""
    text = frame.decode()
    start = max(text.find("{"), 0)
    if len(text) <= LARGE:
        try:
            return _whose(_lenient.raw_decode(text, start)[0], flaw)
        except (ValueError, RecursionError):
            pass
    return _by_its_ends(text[start:], flaw)


def _whose(value: object, flaw: Flaw) -> Lost | None:
    if not isinstance(value, dict) or not value.keys() & {"method", "result", "error"}:
        return None
    id_ = value.get("id")
    if isinstance(id_, float) and id_.is_integer():
        id_ = int(id_)
    if isinstance(id_, bool) or not isinstance(id_, int | str):
        return None
    spelled = encode(id_.encode(errors="replace").decode()) if isinstance(id_, str) else b"%d" % id_
    return None if len(spelled) > wire.LONGEST_ID else Lost(spelled, "method" in value, flaw)


def _by_its_ends(text: str, flaw: Flaw) -> Lost | None:
    """The id stands first or last in every frame that is written by a library."""
    head = _HEAD.match(text)
    if head is not None:
        return Lost(_quoted(head[1]), head[2] in ("method", "params"), flaw)
    begins = _BEGINS.match(text)
    tail = None if begins is None else _TAIL.search(text[-_TAIL_LENGTH:].rstrip())
    if begins is None or tail is None or text.count("{") != text.count("}"):
        return None
    return Lost(_quoted(tail[1]), begins[1] in ("method", "params"), flaw)


def _quoted(id_: str) -> bytes:
    return id_.replace("'", '"').encode()
