"""Members of an entry that say how its URL is reached: by which proxy, trusting whom, and as which OAuth client."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mcp_endpoint.net.proxies import Proxy, Route, as_environment_says, direct, read_proxy, through
from mcp_endpoint.providers.entries.members import BadEntry, text, words
from mcp_endpoint.providers.entries.variables import has_one

_EXAMPLE = "http://127.0.0.1:7890"
_WORDS = dict.fromkeys(("", "false", "none", "no", "off", "direct"), False)
_WORDS |= dict.fromkeys(("true", "yes", "on", "env", "environment", "system"), True)
_SPELLINGS = (
    ("client_id", "clientId"),
    ("client_secret", "clientSecret"),
    ("scope", "scopes"),
    ("redirect_uri", "redirectUri"),
)


@dataclass(frozen=True)
class OAuthClient:
    """As which client the broker signs in, where it is not to register itself."""

    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    scope: str = ""
    redirect_uri: str = ""
    """The one that was registered; empty for one of this machine."""


@dataclass(frozen=True)
class UrlAccess:
    """How a URL is reached."""

    proxy: str | bool = field(default=False, repr=False)
    """A proxy's URL, which may hold a password; True stands for what the environment says, False for none."""
    ca: tuple[str, ...] = ()
    """Files, folders or texts of certificates that are trusted beside the usual ones."""
    oauth: OAuthClient | None = None


def read_access(entry: Mapping[str, Any]) -> UrlAccess:
    """What an entry says of it. Raises BadEntry."""
    return UrlAccess(_proxy(entry), words(entry, "ca") or ())


def read_oauth(entry: Mapping[str, Any]) -> OAuthClient | None:
    """The OAuth client of an entry; names are taken as other hosts spell them, too. Raises BadEntry."""
    said = entry.get("oauth")
    if said is None or isinstance(said, bool):
        return None
    if not isinstance(said, Mapping):
        form = '{"client_id": "…", "client_secret": "…"}'
        raise BadEntry("oauth", f"must be an object such as {form}", f"应为对象，例如 {form}")
    scopes = said.get("scopes")
    if isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes):
        said = {**said, "scopes": " ".join(scopes)}
    try:
        client = OAuthClient(*(_text(said, *names) for names in _SPELLINGS))
    except BadEntry as error:
        raise BadEntry(f"oauth.{error.member}", error.en, error.zh) from None
    if client.client_secret and not client.client_id:
        raise BadEntry("oauth.client_id", "must stand beside client_secret", "须与 client_secret 一起填写")
    return client


def route_of(proxy: str | bool, environ: Mapping[str, str]) -> Route:
    """Which proxy leads where, by what an entry says of it. Raises BadEntry."""
    if isinstance(proxy, str) and proxy:
        return through(_read(proxy))
    try:
        return as_environment_says(environ) if proxy else direct
    except ValueError:
        raise _no_proxy() from None


def filled_access(access: UrlAccess, fill: Callable[[str], str]) -> UrlAccess:
    """The same with variables put in. Raises BadEntry for a proxy that is none then, and what `fill` raises."""
    proxy = access.proxy if isinstance(access.proxy, bool) else fill(access.proxy)
    oauth = access.oauth
    if oauth is not None:
        said = (oauth.client_id, oauth.client_secret, oauth.scope, oauth.redirect_uri)
        oauth = OAuthClient(*(fill(one).strip() for one in said))
    return replace(access, proxy=proxy or False, ca=tuple(filter(None, map(fill, access.ca))), oauth=oauth)


def _text(said: Mapping[str, Any], *names: str) -> str:
    return next((text(said, name) for name in names if said.get(name) is not None), "")


def _proxy(entry: Mapping[str, Any]) -> str | bool:
    said = entry.get("proxy")
    if said is None or isinstance(said, bool):
        return bool(said)
    if not isinstance(said, str):
        en = f"must be a URL such as {_EXAMPLE}, true or false"
        raise BadEntry("proxy", en, f"应为地址（如 {_EXAMPLE}）、true 或 false")
    said = said.strip()
    if said.lower() in _WORDS:
        return _WORDS[said.lower()]
    if not has_one(said):
        _read(said)
    return said


def _read(text: str) -> Proxy:
    try:
        return read_proxy(text)
    except ValueError:
        raise _no_proxy() from None


def _no_proxy() -> BadEntry:
    """It does not repeat what was said, which may hold a password."""
    en = f"must be a URL of http, https or socks5, such as {_EXAMPLE}"
    return BadEntry("proxy", en, f"应为 http、https 或 socks5 的地址，例如 {_EXAMPLE}")
