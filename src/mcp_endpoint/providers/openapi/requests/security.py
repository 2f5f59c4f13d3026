"""Credentials of an API: which of a document's security schemes the settings fill, and with what. Pure.

They come from the provider's settings only. A caller is never asked for one, and never sees where it could be put.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mcp_endpoint.providers.openapi.document.document import Document
from mcp_endpoint.providers.openapi.document.values import BadDocument, an_object
from mcp_endpoint.providers.openapi.operations.operation_reader import is_given


@dataclass(frozen=True)
class Credentials:
    """What is added to a request; none of it is ever shown."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: tuple[str, ...] = field(default=(), repr=False)
    cookies: tuple[str, ...] = field(default=(), repr=False)


class Security:
    """The security schemes of a document, filled from `headers` and `env` of the settings.

    A scheme takes the variable of its own name (`petstore_auth`, also as `PETSTORE_AUTH`); one that is sent as a
    header is filled as well by a header of that name. For `http` with `basic` the variable is `user:password`.
    """

    def __init__(self, document: Document, headers: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._filled: dict[str, Credentials] = {}
        self.hidden: set[tuple[str, str]] = {("header", name) for name in self._headers}
        """Parameters that no caller is asked for: (where, name in lower case)."""
        schemes = an_object(an_object(document.content.get("components")).get("securitySchemes"))
        for name, node in schemes.items():
            try:
                scheme = an_object(document.follow(node))
            except BadDocument:
                continue
            if scheme.get("type") == "apiKey":
                self.hidden.add((str(scheme.get("in")), str(scheme.get("name")).lower()))
            filled = self._fill(scheme, environ.get(name) or environ.get(_variable(name)))
            if filled is not None:
                self._filled[name] = filled

    def of(self, alternatives: Iterable[Mapping[str, Any]]) -> Credentials:
        """What an operation's request gets: the first alternative that can be filled whole, else nothing."""
        for alternative in alternatives:
            if alternative and all(name in self._filled for name in alternative):
                parts = [self._filled[name] for name in alternative]
                return Credentials(
                    {name: value for part in parts for name, value in part.headers.items()},
                    tuple(one for part in parts for one in part.query),
                    tuple(one for part in parts for one in part.cookies),
                )
        return Credentials()

    def _fill(self, scheme: Mapping[str, Any], secret: str | None) -> Credentials | None:
        kind, where, name = scheme.get("type"), scheme.get("in"), str(scheme.get("name"))
        header = name.lower() if kind == "apiKey" and where == "header" else "authorization"
        if (kind != "apiKey" or where == "header") and header in self._headers:
            return Credentials()  # sent with every request
        if secret is None or (header != "authorization" and not is_given(header)):
            return None
        if kind == "apiKey":
            pair = f"{quote(name, safe='')}={quote(secret, safe='')}"
            match where:
                case "query":
                    return Credentials(query=(pair,))
                case "cookie":
                    return Credentials(cookies=(pair,))
                case _:
                    return Credentials({name: secret})
        if kind == "http" and str(scheme.get("scheme")).lower() == "basic":
            return Credentials({"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()})
        if kind in ("http", "oauth2", "openIdConnect"):
            return Credentials({"Authorization": f"Bearer {secret}"})
        return None


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
