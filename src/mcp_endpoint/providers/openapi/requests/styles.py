"""Parameters of an HTTP request in the styles of OpenAPI: values in, encoded text out. Pure.

The styles are those of the OpenAPI specification 3.1, section "Style Values"; null is no value (RFC 6570, section 2.3),
so it is sent as nothing.
"""

import json
from typing import Any
from urllib.parse import quote

from mcp_endpoint.providers.arguments.errors import BadArguments
from mcp_endpoint.providers.openapi.operations.operation import Parameter

_RESERVED = ":/?#[]@!$&'()*+,;="
_SEPARATORS = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"}
MOST_NESTED = 8


def plain(value: Any) -> str:
    """One value as a text: a text as it is, anything else as JSON has it; null is empty."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def in_path(parameter: Parameter, value: Any) -> str:
    """What stands in the path. Raises BadArguments for a text that would make it another path."""
    if parameter.json:
        return quote(json.dumps(value), safe="")
    value = _present(value)
    start, separator = {"label": (".", "."), "matrix": (";", ";")}.get(parameter.style, ("", ","))
    name = _encoded(parameter.name)
    explode = parameter.explode
    if isinstance(value, dict):
        text = _pairs(value, explode, separator if explode else ",")
        body = f"{name}={text}" if parameter.style == "matrix" and not explode else text
    elif isinstance(value, list):
        parts = [_encoded(plain(one)) for one in value]
        if parameter.style == "matrix":
            body = separator.join(f"{name}={part}" for part in parts) if explode else f"{name}={','.join(parts)}"
        else:
            body = (separator if explode else ",").join(parts)
    else:
        body = f"{name}={_encoded(plain(value))}" if parameter.style == "matrix" else _encoded(plain(value))
    text = start + body
    if not body or text in (".", ".."):
        raise BadArguments(
            f"{parameter.argument} 不能为空或 “.”“..” / {parameter.argument} must not be empty, '.' or '..'"
        )
    return text


def in_query(parameter: Parameter, value: Any) -> list[str]:
    """The parts of the query: `name=value`, encoded; none for null, an empty list or object."""
    safe = _RESERVED.translate({ord(one): None for one in "&=#+"}) if parameter.reserved else ""
    name = _encoded(parameter.name)
    if parameter.json:
        return [f"{name}={_encoded(json.dumps(value, ensure_ascii=False))}"]
    value = _present(value)
    if value is None:
        return []
    if isinstance(value, dict):
        if parameter.style == "deepObject":
            return _deep(name, value, 0)
        if not value:
            return []
        if parameter.explode:
            return [f"{_encoded(key)}={_encoded(plain(one), safe)}" for key, one in value.items()]
        separator = _SEPARATORS[parameter.style]
        return [f"{name}={_pairs(value, explode=False, separator=separator, safe=safe)}"]
    if isinstance(value, list):
        parts = [_encoded(plain(one), safe) for one in value]
        if not parts:
            return []
        if parameter.style == "deepObject":
            return _deep(name, value, 0)
        if parameter.explode:
            return [f"{name}={part}" for part in parts]
        return [f"{name}={_SEPARATORS[parameter.style].join(parts)}"]
    return [f"{name}={_encoded(plain(value), safe)}"]


def in_header(parameter: Parameter, value: Any) -> str:
    """A header's value. Raises BadArguments for one with a line break or another control character."""
    if parameter.json:
        text = json.dumps(value)
    elif isinstance(value := _present(value), list):
        text = ",".join(plain(one) for one in value)
    elif isinstance(value, dict):
        pairs = value.items()
        text = ",".join(f"{key}={plain(one)}" if parameter.explode else f"{key},{plain(one)}" for key, one in pairs)
    else:
        text = plain(value)
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise BadArguments(f"{parameter.argument} 含有控制字符 / {parameter.argument} has a control character")
    return text.strip()


def in_cookie(parameter: Parameter, value: Any) -> list[str]:
    """The cookies that a value becomes, each as `name=value`."""
    return in_query(parameter, value)


def _present(value: Any) -> Any:
    """The value without members that are null."""
    if isinstance(value, dict):
        return {key: one for key, one in value.items() if one is not None}
    return [one for one in value if one is not None] if isinstance(value, list) else value


def _pairs(value: dict[str, Any], explode: bool, separator: str, safe: str = "") -> str:
    between = "=" if explode else separator
    return separator.join(f"{_encoded(key)}{between}{_encoded(plain(one), safe)}" for key, one in value.items())


def _deep(name: str, value: Any, depth: int) -> list[str]:
    """Brackets all the way down. The specification leaves lists open: this is how the servers that have brackets read
    them, those of Rails, PHP, Express and Stripe: `a[]=1`, and of objects and lists `a[0][b]=1`.
    """
    if depth >= MOST_NESTED or not isinstance(value, dict | list):
        return [f"{name}={_encoded(plain(value))}"]
    value = _present(value)
    if isinstance(value, dict):
        return [part for key, one in value.items() for part in _deep(f"{name}%5B{_encoded(key)}%5D", one, depth + 1)]
    nested = any(isinstance(one, dict | list) for one in value)
    steps = [str(number) if nested else "" for number in range(len(value))]
    return [
        part for step, one in zip(steps, value, strict=True) for part in _deep(f"{name}%5B{step}%5D", one, depth + 1)
    ]


def _encoded(text: str, safe: str = "") -> str:
    return quote(text, safe=safe, errors="replace")
