"""One JSON-RPC frame: its kind, its id, its method, and params or result as the bytes they came in.

Only the envelope of a relayed frame is decoded; what is inside `params`, `result` and `error` stays the peer's own
bytes (`Raw`), so that unknown members and spellings of numbers survive.
"""

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, ValidationError
from msgspec.json import Decoder, decode, encode

NULL_ID = b"null"
"""What an error carries as id when the request's own could not be read."""
LONGEST_ID = 1024
"""Bytes of an id, quotes included."""
NULL = Raw(b"null")
"""The value null as it is read. A Raw is equal to no bytes, only to another Raw."""


class Envelope(Struct, gc=False):
    """The members of a JSON-RPC frame; one that was not there is UNSET."""

    jsonrpc: str = ""
    id: Raw | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


class NotJson(ValueError):
    """The frame is not JSON."""


class NotAnEnvelope(ValueError):
    """The frame is JSON, but not one JSON-RPC object. `id` is its id as sent if there is a usable one, else null."""

    def __init__(self, why: str, id_: bytes = NULL_ID) -> None:
        super().__init__(why)
        self.id = id_


_SEPARATORS = [(char.encode(), rb"\u%04x" % ord(char)) for char in "\u0085\u2028\u2029"]

_decode = Decoder(Envelope).decode
_members = Decoder(dict[str, Raw])
_whole = Decoder(Raw)


def read(frame: bytes) -> Envelope:
    """Read the envelope of one frame. Raises NotJson or NotAnEnvelope."""
    try:
        return _decode(frame)
    except ValidationError:
        raise _complaint(frame) from None
    except (DecodeError, UnicodeDecodeError):
        raise NotJson("not JSON") from None
    except RecursionError:
        raise NotJson("nested too deeply") from None


def _complaint(frame: bytes) -> NotJson | NotAnEnvelope:
    """Say what is wrong with a frame that did not fit an Envelope; its reader stopped at the first misfit."""
    try:
        _whole.decode(frame)
        members = _members.decode(frame)
    except ValidationError:
        return NotAnEnvelope("a batch" if frame.lstrip()[:1] == b"[" else "not an object")
    except (DecodeError, UnicodeDecodeError):
        return NotJson("not JSON")
    except RecursionError:
        return NotJson("nested too deeply")
    raw = members.get("id")
    usable = NULL_ID if raw is None or id_key(raw) is None else bytes(raw)
    return NotAnEnvelope("jsonrpc and method must be strings", usable)


def id_key(raw: Raw | bytes) -> bytes | None:
    """A key that is equal for equal ids and differs between 1 and "1"; None if it is no string and no integer, or is
    longer than LONGEST_ID: it is kept as long as its request.

    An integer has one spelling in JSON. A string may be spelled with escapes, so one that has any is written anew.
    """
    key = bytes(raw)
    if len(key) > LONGEST_ID:
        return None
    if key.isdigit():
        return key
    if key[:1] == b'"':
        if b"\\" not in key:
            return key
        try:
            return encode(decode(key))
        except (DecodeError, UnicodeDecodeError):
            return None
    if key[:1] == b"-" and key[1:].isdigit():
        return key
    return None


def members(raw: Raw | bytes | UnsetType) -> dict[str, Raw] | None:
    """The members of a JSON object, their values as bytes; None if `raw` is not an object."""
    if raw is UNSET:
        return None
    try:
        return _members.decode(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None


def one_line(frame: bytes) -> bytes:
    """The same JSON without line breaks between its tokens: line-framed bridges break on them.

    Within a JSON string a line break is written as an escape, so any that is found stands between tokens.
    """
    if b"\n" in frame or b"\r" in frame:
        return frame.replace(b"\r", b" ").replace(b"\n", b" ")
    return frame


def no_separators(frame: bytes) -> bytes:
    """The same JSON with the characters as escapes that some readers of lines take for the end of one.

    Node's `readline` takes U+2028 and U+2029 for it, `str.splitlines` of Python, and what is built on that, U+0085 too.
    """
    if not frame.isascii():
        for raw, escape in _SEPARATORS:
            frame = frame.replace(raw, escape)
    return frame


def request(id_: int, method: str, params: Raw | bytes | UnsetType = UNSET) -> bytes:
    """A request towards a tool side, on one line; its id is one of the broker's own small integers."""
    if params is UNSET:
        return b'{"jsonrpc":"2.0","id":%d,"method":%b}' % (id_, encode(method))
    return one_line(b'{"jsonrpc":"2.0","id":%d,"method":%b,"params":%b}' % (id_, encode(method), params))


def notification(method: str, params: Raw | bytes | UnsetType = UNSET) -> bytes:
    """A notification towards either side."""
    if params is UNSET:
        return b'{"jsonrpc":"2.0","method":%b}' % encode(method)
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (encode(method), params)


def result(id_: bytes, value: Raw | bytes) -> bytes:
    """An answer with a result; `id_` is spelled as it was sent."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id_, value)


def error(id_: bytes, value: Raw | bytes) -> bytes:
    """An answer with an error object that is already JSON."""
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (id_, value)


def failure(id_: bytes, code: int, message: str, data: dict[str, object] | None = None) -> bytes:
    """An answer with an error of the broker's own making."""
    value: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        value["data"] = data
    return error(id_, encode(value))
