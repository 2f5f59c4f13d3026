"""Cuts secrets out of log lines and makes text of peers fit to stand in one.

Five things are secret: the configured key, whatever follows `token=` or `key=`, `Authorization` headers, names and
passwords in URLs, and agent tokens standing alone (base64 of whole AES blocks, URL-encoded or in its URL alphabet too).
Agent ids, paths, identifiers and JSON stay readable. Every pattern is linear: repetitions are possessive or bounded.
"""

import json
import re
from collections.abc import Collection
from urllib.parse import quote, quote_plus

MASK = "***"

_SHORTEST_SECRET = 4
"""Characters. A shorter one is guessed at once, and cutting it everywhere would leave no line readable."""

_SHORTEST_TOKEN = 40
"""Characters, padding included; the shortest that is minted has 44."""

# Whatever is unquoted goes up to white space, `&` or a closing quote; a quote inside a word does not close anything.
_VALUE = r"""(?:[^\s&"'\\]++|\\(?!["'])|["'](?=\w))++"""

_PARAMETER = re.compile(
    r"""
    ( (?<!progress)(?<!progress_)
      (?: (?:token|key) (?: = | %(?:25)*+3D | \\u003d )       # also access_token=, api_key=, ?token%3D
        | token \\?["'] \s? : \s? (?=b?\\?["']) )             # also {"token": "…"}
    )
    (?: (b?\\?(["'])) (?:(?!\\?\3)[^\r\n])++                  # quoted: up to the closing quote
      | [^\r\n&"']{1,300}? (?=[ ]HTTP/\d)                     # a request line, even one with spaces in its target
      | """
    + _VALUE
    + ")",
    re.IGNORECASE | re.VERBOSE,
)

_AUTHORIZATION = re.compile(
    r"""
    ( authorization (?: \s{0,4}[:=]\s{0,4} | \\?["']\s{0,4}[:,=]\s{0,4} ) (?:b?\\?["'])?
      (?: (?:Bearer|Basic|Digest|Token|ApiKey|Key)\s{1,4} )?+
    | \bBearer\s{1,4}(?=\S*\d|\S{16})                         # not "a Bearer token is missing"
    )"""
    + _VALUE,
    re.IGNORECASE | re.VERBOSE,
)

_USERINFO = re.compile(r"(?<=://)[^\s/@?#\"'<>\\]{1,300}+@")
"""What stands before the host of a URL: `http://user:password@proxy:8080`."""

# A run of either base64 alphabet; `+`, `/` and `=` also as URLs and JSON write them, encoded twice included.
_RUN = re.compile(
    r"(?=[A-Za-z0-9+/_%\\-]{36})(?:[A-Za-z0-9+/_-]++|%(?:25)*+(?:2[BbFf]|3[Dd])|\\/|\\u00(?:2[BbFf]|3[Dd]))++={0,2}+(?=([A-Za-z0-9]?))"
)
_ENCODED = re.compile(r"(?:%(?:25)*+|\\u00)(2[BbFf]|3[Dd])|\\/")
_HEX = re.compile(r"[0-9A-Fa-f]*+\Z")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


def redact(text: str, secrets: Collection[str] = ()) -> str:
    """`text` with every secret replaced by `***`; `secrets` are cut out in all their spellings.

    For many texts with the same secrets build one `Redactor`.
    """
    return Redactor(secrets)(text)


class Redactor:
    """Cuts `secrets`, and what looks like one, out of one text after the other."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        spellings = {form for secret in secrets for form in _spellings(secret) if len(form) >= _SHORTEST_SECRET}
        longest_first = sorted(spellings, key=lambda form: (-len(form), form))
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """`text` with every secret replaced by `***`."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        text = _USERINFO.sub(f"{MASK}@", text)
        text = _PARAMETER.sub(_mask_parameter, text)
        text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
        return _RUN.sub(_mask_token, text)


def _spellings(secret: str) -> set[str]:
    """How `secret` may stand in a line: plain, URL-encoded (once, twice), inside repr() or JSON, or mis-decoded."""
    encoded = {coded(secret, safe, errors="surrogatepass") for coded in (quote, quote_plus) for safe in ("", "/")}
    encoded |= {quote(form, safe="") for form in encoded}
    encoded |= {re.sub("%[0-9A-F]{2}", lambda octet: octet[0].lower(), form) for form in encoded}
    data = secret.encode(errors="surrogatepass")
    literals = {repr(secret)[1:-1], ascii(secret)[1:-1], repr(data)[2:-1], json.dumps(secret)[1:-1]}
    return {secret, data.decode("latin-1"), json.dumps(secret, ensure_ascii=False)[1:-1], *encoded, *literals}


def _mask_parameter(match: re.Match[str]) -> str:
    return match[1] + (match[2] or "") + MASK


def _mask_token(match: re.Match[str]) -> str:
    run = _ENCODED.sub(_decoded, match[0])
    body = run.rstrip("=")
    padding = len(run) - len(body)
    long_enough = len(body) + min(padding, 2) >= _SHORTEST_TOKEN
    return MASK if long_enough and not _HEX.match(body) and _is_token(body, padding, bool(match[1])) else match[0]


def _decoded(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else "/"


def _is_token(body: str, padding: int, goes_on: bool) -> bool:
    """Whether a run of base64 characters is one of chance, and not a path or an identifier.

    Whole AES blocks with their padding are recognized by length. Everything else by its grain: words, as the eye
    sees them in snake_case, CamelCase or a path, are long; in random base64 they are two characters long. Measured:
    of a million random tokens of 48 bytes none got through, and of the names and paths in 42 MB of Python packages
    one URL was cut.
    """
    if padding and not goes_on and (len(body) + padding) % 4 == 0 and (len(body) * 3 // 4) % 16 == 0:
        return body.lower() != body != body.upper()
    starts = [word.start() for word in _WORD.finditer(body)]
    for first, last in zip(starts, starts[10:], strict=False):
        if last - first < 40:
            window = body[first : first + 40]
            if sum(map(str.isupper, window)) >= 5 and sum(map(str.islower, window)) >= 5:
                return True
    return False


_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_SHORT_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escape_controls(text: str) -> str:
    """`text` on one line: control characters, line separators, bidi controls and lone surrogates as escapes.

    A peer could otherwise forge lines, move the cursor of a terminal or turn the reading direction round.
    """
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT_ESCAPES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def quote_peer(text: str, limit: int = 200) -> str:
    """Text that a peer supplied, for one log line: secrets cut, controls escaped, at most `limit` characters.

    What is longer ends with "…". Secrets go first: half a token would no longer be recognized as one.
    """
    room = 4 * limit + 2048
    redacted = redact(text[:room])
    escaped = escape_controls(redacted[: limit + 1])
    if len(escaped) <= limit and len(text) <= room:
        return escaped
    kept: list[str] = []
    left = limit - 1
    for character in map(escape_controls, redacted[:limit]):
        left -= len(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"
