"""Where the document of an API may be, when what was named is a page that shows it, or a list of documents. Pure.

Pages of Swagger UI, Redoc, Scalar, RapiDoc and Elements name their document in an attribute or a line of JavaScript,
and Swagger UI often does so in a script of its own. What they name is looked at first, then where frameworks put
documents. Everything is on the page's own origin, and the number of looks is limited.
"""

import html
import re
from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from mcp_endpoint.net.http_client import same_origin
from mcp_endpoint.providers.openapi.document.values import a_list, a_text, an_object

MOST_LOOKS = 16
MOST_NAMED = 6
"""Addresses that one page or script may name."""
LONGEST_PAGE = 1024 * 1024
"""Characters of one that are searched."""

_USUAL = (
    *("/openapi.json", "/v3/api-docs", "/swagger.json", "/swagger/v1/swagger.json", "/openapi.yaml", "/api-json"),
    *("/v2/api-docs", "/openapi/v1.json", "/api/openapi.json", "/api-docs"),
)
PLACES = "documents are usually at /openapi.json, /v3/api-docs, /swagger.json, /swagger/v1/swagger.json or /api-json"

_QUOTED = r"""["'`]([^"'`<>\s]{1,400})["'`]"""
_NAMING = tuple(
    re.compile(start + _QUOTED, re.IGNORECASE)
    for start in (
        r"\b(?:spec-url|data-url|data-spec-url|apiDescriptionUrl|api-description-url)\s*=\s*",
        r"\bRedoc\.init\(\s*",
        r"""\b(?:configUrl|specUrl|swaggerUrl|url)["']?\s*[:=]\s*""",
    )
)
_LEADING = re.compile(r"\b(?:src|href)\s*=\s*" + _QUOTED, re.IGNORECASE)
_OF_USE = re.compile(r"(?:init|config)[^/]*\.js$|(?:openapi|swagger|api-docs)[^/]*\.(?:json|ya?ml)$", re.IGNORECASE)
"""How files end, of those that a page refers to, that may be a document or the script that names one."""
_PAGES = re.compile(r"/(?:docs|redoc|swagger-ui|swagger|api-docs|scalar|rapidoc|reference)?/?[^/]*$")


class DocumentSearch:
    """Places to look at, one after the other."""

    def __init__(self, place: str) -> None:
        """`place` is the URL of what was named."""
        self._place = place
        self._looked = 0
        self._known = {_bare(place)}
        self._named: deque[str] = deque()
        self._usual = deque(_usual_places(place))

    def next(self) -> str | None:
        """The next place to look at; None when there is none, or there were enough."""
        while self._looked < MOST_LOOKS and (waiting := self._named or self._usual):
            place = waiting.popleft()
            if waiting is self._usual and _bare(place) in self._known:
                continue
            self._known.add(_bare(place))
            self._looked += 1
            return place
        return None

    def page(self, text: str, base: str) -> None:
        """Remember what a page or script at `base` names."""
        text = text[:LONGEST_PAGE]
        named = [match[1] for form in _NAMING for match in form.finditer(text)]
        named += [match[1] for match in _LEADING.finditer(text) if _OF_USE.search(match[1])]
        self._name(map(html.unescape, named), base)

    def values(self, content: Any, base: str) -> None:
        """Remember what a list of documents at `base` names: the settings of Swagger UI, or `/swagger-resources`."""
        entries = [content, *a_list(an_object(content).get("urls")), *a_list(content)]
        self._name(
            (a_text(an_object(one).get(key)) for one in entries for key in ("url", "configUrl", "location")), base
        )

    def _name(self, found: Iterator[str], base: str) -> None:
        count = 0
        for one in found:
            try:
                place = urljoin(base, one)
                ours = bool(one) and same_origin(httpx.URL(self._place), httpx.URL(place))
            except (httpx.InvalidURL, ValueError):
                continue
            if ours and _bare(place) not in self._known and count < MOST_NAMED:
                count += 1
                self._known.add(_bare(place))
                self._named.append(place)


def _usual_places(place: str) -> Iterator[str]:
    """Below the folder of a page, where it is not the root itself, and at the root."""
    folder = re.sub(
        r"/(?:docs|redoc|swagger-ui|swagger|api-docs|scalar|rapidoc|reference)?/?[^/]*$", "", urlsplit(place).path
    )
    if folder:
        yield from (urljoin(place, folder + path) for path in _USUAL[:4])
    yield from (urljoin(place, path) for path in _USUAL)


def _bare(place: str) -> str:
    return place.partition("#")[0]
