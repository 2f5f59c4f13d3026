"""Media types, as `Accept` and `Content-Type` name them (RFC 9110, 12.5.1 and 8.3.1).

Read forgivingly: what says nothing that can be read is as if it was not there.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"?')
_WEIGHT = re.compile(r"q\s*=\s*([0-9.]+)")
_RANGE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_JSON = frozenset({"application/json", "application/json-rpc", "application/jsonrequest", "text/json"})


class Accepted(NamedTuple):
    """What a client takes as an answer: JSON, a stream of events, or both."""

    json: bool
    events: bool
    streams: bool
    """Whether it names streams itself, and not just anything: then it need not wait in silence for a late answer."""


ANYTHING = Accepted(json=True, events=True, streams=False)


@lru_cache(64)  # each client sends its own one with every request
def accepted(header: str | None) -> Accepted:
    """What an `Accept` header takes; without one it is anything."""
    weights: dict[str, float] = {}
    for part in _QUOTED.sub("", header or "").lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        name = "*/*" if name == "*" else name
        if _RANGE.fullmatch(name):
            weights[name] = max(weights.get(name, 0.0), _weight(parameters))
    if not weights:
        return ANYTHING
    spelled = [weight for name, weight in weights.items() if _is_json(name)]
    json = max(spelled) if spelled else _of(weights, "application/*", "*/*")
    events = _of(weights, "text/event-stream", "text/*", "*/*")
    return Accepted(json > 0, events > 0, weights.get("text/event-stream", 0.0) > 0)


def _of(weights: dict[str, float], *ranges: str) -> float:
    """The weight of the most specific of these ranges that is named."""
    return next((weights[name] for name in ranges if name in weights), 0.0)


def _weight(parameters: list[str]) -> float:
    """What `q` says; one that is malformed says nothing."""
    for parameter in parameters:
        found = _WEIGHT.fullmatch(parameter)
        if found is not None:
            try:
                return float(found[1])
            except ValueError:
                break
    return 1.0


def _is_json(name: str) -> bool:
    return name in _JSON or (name.endswith("+json") and not name.startswith("text/"))


def is_json(header: str | None) -> bool:
    """Whether a `Content-Type` says that the body is JSON; all of them, if it came more than once."""
    names = [part.partition(";")[0].strip() for part in _QUOTED.sub("", header or "").lower().split(",")]
    said = [name for name in names if name]
    return bool(said) and all(map(_is_json, said))
