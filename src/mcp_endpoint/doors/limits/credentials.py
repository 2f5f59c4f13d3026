"""Where a request shows its token, at every door alike: in the URL or in a header, as people paste it.

A token is known by what it seals, so it may stand in a text with other words, and in more than one place. What counts
is whose it is: tokens of two agents in one request name nobody.
"""

import contextlib
import re
from collections.abc import Iterable

from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.tokens import TokenError, Tokens

_PARAMETER = "token"
_ALIKE = frozenset({"token", "access_token"})
"""Parameters whose value is looked at (RFC 6750, 2.3), in any case, and behind an `&` that HTML or XML spells `&amp;`.
Only `token` itself says that there is one."""
_NOT_MEANT = re.compile(
    r"""(?!bearer\b|token\b|authorization\b)[a-z][a-z0-9-]*+\ ++\S   # Basic, Digest …: for a proxy (RFC 9110, 11.4)
      | (?:bearer|token)?[\s:"']*\Z                                  # a variable that is empty
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""An `Authorization` that does not say that there is a token."""
MOST = 4
"""Different texts of one request that are looked at; with more of them it has no token."""
KEY_HEADERS = ("x-api-key", "api-key")
"""Headers for a secret in programs that cannot set `Authorization`."""


def agent_of(
    tokens: Tokens, query: Iterable[tuple[str, str]], authorization: str = "", keys: Iterable[str] = ()
) -> str | End:
    """The id of the agent whose token a request shows, or why there is none.

    `query` has the parameters of its URL, `authorization` and `keys` the values of these headers.
    """
    parameters = [(name, value) for name, value in query if value and name.lower().removeprefix("amp;") in _ALIKE]
    scheme, _, value = authorization.partition(" ")
    shown = {value.strip() if scheme.lower() == "bearer" else authorization, *keys, *(text for _, text in parameters)}
    shown.discard("")
    agents = _agents(tokens, shown) if len(shown) <= MOST else set()
    if len(agents) == 1:
        return agents.pop()
    if agents:
        return End.TWO_TOKENS
    missing = _NOT_MEANT.match(authorization) and not any(name == _PARAMETER for name, _ in parameters)
    return End.MISSING_TOKEN if missing else End.BAD_TOKEN


def _agents(tokens: Tokens, texts: Iterable[str]) -> set[str]:
    found = set()
    for text in texts:
        with contextlib.suppress(TokenError):
            found.add(tokens.find(text))
    return found
