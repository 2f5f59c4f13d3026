"""Agent tokens: read them, mint them, and put them into the two URLs that users copy.

A token is base64( AES-ECB( key, PKCS7( JSON ) ) ), minted by the Xiaozhi management console (docs/protocol.md, 2).
Other programs mint and read it, so neither the cipher nor the form is ours to choose. What ECB lacks, strict reading
makes up for as far as it can: one spelling per token, two known members, a narrow alphabet for the agent's id.
"""

import base64
import hashlib
import json
import re
from itertools import count
from urllib.parse import quote, unquote, urlsplit

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mcp_endpoint.errors.close_codes import End

BLOCK = 16
LONGEST = 1024
"""Characters of a token that are looked at; the longest that anybody mints has about 150."""

LONGEST_PASTED = 2048
"""Characters of a text that may hold a token: the longest URL that anybody pastes is far below."""
MOST_CANDIDATES = 8
"""Words of such a text that are tried."""

_AGENT = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# Nothing that could belong to a token stands beside it: half of one, or one with padding of its own, is none.
_CANDIDATE = re.compile(
    r"(?:(?<![A-Za-z0-9+/=_-])|(?<=token=))[A-Za-z0-9+/]{20,}+={0,2}+(?![A-Za-z0-9+/=_-])", re.IGNORECASE
)
_SCHEME = re.compile(r"\b(?:authorization|bearer|token)\b[\s:=]*", re.IGNORECASE)
_FORBIDDEN_WORDS = ("key", "call")


class TokenError(Exception):
    """Not a valid token. It says the same for every fault, so that nothing is told to a prober."""

    def __init__(self) -> None:
        super().__init__(End.BAD_TOKEN.wire)


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object's members; a name that comes twice would be read differently by different programs."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


_decode = json.JSONDecoder(object_pairs_hook=_members).decode


class Tokens:
    """The tokens under one key. Build it once; `read` costs a few microseconds."""

    def __init__(self, key: str) -> None:
        raw = key.encode()
        if len(raw) not in (16, 24, 32):
            raw = raw[:32].ljust(32, b"\0")
        # ECB is the format of the programs that mint these tokens (docs/protocol.md, section 2.1).
        self._cipher = Cipher(AES(raw), ECB())

    def read(self, token: str) -> str:
        """The id of the agent that `token` names: 1 to 64 characters out of `[A-Za-z0-9_.:-]`.

        `token` is the percent-decoded value of the query parameter; a `+` may have become a space on the way. Raises
        TokenError for anything that is not the one spelling of a token under this key.
        """
        try:
            return self._read(token)
        # RecursionError: JSON nested that deep takes the key to make, but must not fail in a way of its own.
        except (ValueError, RecursionError):
            raise TokenError from None

    def _read(self, token: str) -> str:
        if not 0 < len(token) <= LONGEST:
            raise ValueError("length")
        token = token.replace(" ", "+")
        sealed = base64.b64decode(token, validate=True)
        # Decoding ignores the unused bits of the last character: only the canonical spelling is the token.
        if base64.b64encode(sealed).decode() != token or len(sealed) % BLOCK:
            raise ValueError("not canonical")
        decryptor = self._cipher.decryptor()
        padded = decryptor.update(sealed) + decryptor.finalize()
        pad = padded[-1]
        # With every byte of the padding checked, encrypting the plaintext again gives these very bytes.
        if not 1 <= pad <= BLOCK or padded[-pad:] != bytes([pad]) * pad:
            raise ValueError("padding")
        members = _decode(padded[:-pad].decode())
        if not isinstance(members, dict) or not members.keys() <= {"agentId", "n"}:
            raise ValueError("members")
        agent, n = members.get("agentId"), members.get("n", 0)
        if not isinstance(agent, str) or not _AGENT.fullmatch(agent):
            raise ValueError("agentId")
        if type(n) is not int or n < 0:
            raise ValueError("n")
        return agent

    def find(self, pasted: str) -> str:
        """The id of the agent whose token stands in a text that somebody pasted.

        The token may be percent-encoded, in quotes, behind `Bearer` or `token=`, or in its whole URL, once or more
        often. No such text is another spelling of the token: what is found in it has to be the one that `read` takes.
        Raises TokenError if there is none, or tokens of several agents.
        """
        try:
            return self.read(pasted)
        except TokenError:
            agents = {agent for word in _candidates(pasted) if (agent := self._agent(word)) is not None}
        if len(agents) != 1:
            raise TokenError
        return agents.pop()

    def _agent(self, word: str) -> str | None:
        try:
            return self.read(word)
        except TokenError:
            return None

    def mint(self, agent: str | None) -> str:
        """A token, not URL-encoded, for the agent named `agent`, or the single-module one for None.

        The same arguments give the same token at every start. A name is always hashed, as the console does with its
        own ids, even one that looks like a hash: whoever could choose the text that ECB seals could splice tokens.
        """
        plain = '"agentId":"single_module"}' if agent is None else f'"agentId": "{agent_id(agent)}"}}'
        token = self._seal("{" + plain)
        numbers = count()
        # The single-module Xiaozhi server refuses any endpoint URL with one of these words in it. `n` stands in front:
        # ECB seals 16 bytes at a time, so at the end it would never change a word that is in the first blocks.
        while any(word in quote(token, safe="").lower() for word in _FORBIDDEN_WORDS):
            token = self._seal(f'{{"n":{next(numbers)},{plain}')
        return token

    def _seal(self, plain: str) -> str:
        raw = plain.encode()
        pad = BLOCK - len(raw) % BLOCK
        encryptor = self._cipher.encryptor()
        return base64.b64encode(encryptor.update(raw + bytes([pad]) * pad) + encryptor.finalize()).decode()


def agent_id(name: str) -> str:
    """The id of the agent named `name`: md5 of its UTF-8 in hex, as the console makes it (32 characters).

    Raises ValueError for a name that has no UTF-8 (lone surrogates).
    """
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def agent_ids(name: str) -> tuple[str, ...]:
    """The ids that `name` may stand for in the settings: itself where it can be one, and its md5.

    Both, since an id of the console's database looks like a hash itself: its tokens carry the md5 of it. Only
    `single_module` is never hashed.
    """
    if name == "single_module":
        return (name,)
    return (name, agent_id(name)) if _AGENT.fullmatch(name) else (agent_id(name),)


def _candidates(pasted: str) -> list[str]:
    """What may be a token in a text; nothing if that is too long, or too much."""
    if len(pasted) > LONGEST_PASTED:
        return []
    for _ in range(3):
        if "%" not in pasted:
            break
        pasted = unquote(pasted)
    # A `+` may have become a space, which else stands between words.
    joined = _SCHEME.sub("", pasted).strip().replace(" ", "+")
    found = list(dict.fromkeys(_CANDIDATE.findall(pasted) + _CANDIDATE.findall(joined)))
    return found if len(found) <= MOST_CANDIDATES else []


def urls(base: str, token: str) -> tuple[str, str]:
    """The tool URL and the device URL that `token` opens.

    `base` is where the broker is reached: http(s) or ws(s), host, maybe a port and a prefix of a reverse proxy
    (`https://example.org/voice`). Raises ValueError if it is not that.
    """
    parts = urlsplit(base)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"not a base URL like http://host:8004 : {base}")
    prefix = parts.path.rstrip("/")
    if not prefix.endswith("/mcp_endpoint"):
        prefix += "/mcp_endpoint"
    start, end = f"{scheme}://{parts.netloc}{prefix}", f"/?token={quote(token, safe='')}"
    return f"{start}/mcp{end}", f"{start}/call{end}"
