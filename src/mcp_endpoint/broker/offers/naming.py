"""Names under which several tool sides can be told apart (docs/protocol.md, section 10)."""

import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote

from mcp_endpoint.wire.mcp import is_model_name

MAX_NAME = 64

_NOT_ASCII = re.compile(r"[^A-Za-z0-9_-]+")
_UNCLEAN = re.compile(r"[^a-zA-Z0-9_\-\u4e00-\u9fff]")


def clean(name: str) -> str:
    """The name as the Xiaozhi server spells it; two tools that collide after this overwrite each other there."""
    return _UNCLEAN.sub("_", name)


def slug(name: str) -> str:
    """An alias made from a `server_id` or a server's name."""
    return clean(name)[:32] or "tools"


def tail(*parts: str) -> str:
    """A short hash that tells names apart that would otherwise be equal."""
    return sha256("\0".join(parts).encode()).hexdigest()[:8]


Holder = tuple[str, str, str]
"""Who has a name: the agent whose token it came with, its alias there, and the name it gives itself."""


def public_names(holders: Sequence[Holder], shown: Sequence[str]) -> list[str]:
    """A public name for each of `shown`; `holders` are (owner, alias, own name), in the same order.

    What it gets depends on which there are, never on who came first.
    """
    times = Counter(map(clean, shown))
    prefixed = [
        name if times[clean(name)] == 1 else _fit(f"{alias}__{name}")
        for (_, alias, _), name in zip(holders, shown, strict=True)
    ]
    times = Counter(map(clean, prefixed))
    return [
        name if times[clean(name)] == 1 else _fit(name, tail(*holder))
        for holder, name in zip(holders, prefixed, strict=True)
    ]


def model_names(holders: Sequence[Holder], public: Sequence[str]) -> list[str]:
    """Names that every model's API takes, in the same order: letters, digits, `_` and `-`, 64 of them at most.

    A name of that form stays. Another one becomes the tool's own name if that is free, else what is left of it with a
    hash tail.
    """
    fitting = {name for name in public if is_model_name(name)}
    own = [name if is_model_name(name) and name not in fitting else "" for _, _, name in holders]
    times = Counter(name for name, shown in zip(own, public, strict=True) if shown not in fitting)
    return [
        shown
        if shown in fitting
        else name
        if name and times[name] == 1
        else _fit(_NOT_ASCII.sub("_", shown).strip("_") or "tool", tail(*holder))
        for holder, name, shown in zip(holders, own, public, strict=True)
    ]


def public_uris(holders: Sequence[Holder], shown: Sequence[str]) -> list[str]:
    """The same for URIs and templates of URIs: one that several have gets its holder in front.

    A URI is the tool side's own text and is never cut: what follows `endpoint://<alias>/` is what it is asked for.
    """
    times = Counter(shown)
    prefixed = [
        uri if times[uri] == 1 else f"endpoint://{quote(alias, safe='')}/{uri}"
        for (_, alias, _), uri in zip(holders, shown, strict=True)
    ]
    times = Counter(prefixed)
    return [
        uri if times[uri] == 1 else f"endpoint://{quote(alias, safe='')}_{tail(owner)}/{own}"
        for (owner, alias, own), uri in zip(holders, prefixed, strict=True)
    ]


def _fit(name: str, mark: str | None = None) -> str:
    """The name within MAX_NAME characters, with a hash tail if it had to be cut or needs a mark."""
    if mark is None:
        if len(name) <= MAX_NAME:
            return name
        mark = tail(name)
    return f"{name[: MAX_NAME - len(mark) - 1]}_{mark}"
