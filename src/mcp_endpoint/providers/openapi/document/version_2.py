"""An OpenAPI 2.0 ("Swagger") document as one of 3.0: other places for the same things, and bodies that were parameters.

Pure and lenient: what is not of the expected form is left out, and what then is missing is found by whoever reads it.
"""

from collections.abc import Callable
from typing import Any

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")

_SCHEMA = (
    *("type", "format", "items", "default", "enum", "pattern", "multipleOf", "uniqueItems", "maximum", "minimum"),
    *("exclusiveMaximum", "exclusiveMinimum", "maxLength", "minLength", "maxItems", "minItems"),
)
_STYLES: dict[str, dict[str, object]] = {
    "csv": {"explode": False},
    "ssv": {"style": "spaceDelimited", "explode": False},
    "pipes": {"style": "pipeDelimited", "explode": False},
    "tsv": {"explode": False},
    "multi": {"style": "form", "explode": True},
}
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def head_of_version_2(old: dict[str, Any]) -> dict[str, Any]:
    """What the document says beside its paths, in version 3.0; references stay true, as they lead into the old one."""
    return {
        "openapi": "3.0.3",
        "info": old.get("info", {}),
        "servers": _servers(old),
        "security": old.get("security", []),
        "components": {
            "securitySchemes": {name: _scheme(one) for name, one in _objects(old.get("securityDefinitions")).items()},
        },
    }


def _servers(old: dict[str, Any]) -> list[dict[str, str]]:
    host, base = old.get("host"), old.get("basePath")
    path = base if isinstance(base, str) else ""
    if not isinstance(host, str) or not host:
        return [{"url": path or "/"}]
    schemes = _texts(old.get("schemes")) or ["https"]
    return [{"url": f"{'https' if 'https' in schemes else schemes[0]}://{host}{path}"}]


class PathConverter:
    """Converts paths, one at a time."""

    def __init__(self, old: dict[str, Any], follow: Callable[[Any], Any]) -> None:
        """`follow` returns what a node stands for, or a reference as it is that cannot be followed."""
        self._consumes = _texts(old.get("consumes")) or ["application/json"]
        self._follow = follow

    def path(self, item: dict[str, Any]) -> dict[str, Any]:
        """One path with its operations."""
        common = self._listed(item)
        new = {key: value for key, value in item.items() if key not in (*METHODS, "parameters")}
        new["parameters"] = [_parameter(one) for one in common if not _in_body(one)]
        for method in METHODS:
            operation = self._follow(item.get(method))
            if isinstance(operation, dict):
                new[method] = self._operation(operation, [one for one in common if _in_body(one)])
        return new

    def _listed(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        # A body, or a part of one, may be behind a reference, and has to be known as one here.
        given = node.get("parameters")
        followed = [self._follow(one) for one in given] if isinstance(given, list) else []
        return [one for one in followed if isinstance(one, dict)]

    def _operation(self, old: dict[str, Any], bodies: list[dict[str, Any]]) -> dict[str, Any]:
        listed = self._listed(old)
        parts = [one for one in listed if _in_body(one)] or bodies
        new = {key: value for key, value in old.items() if key not in ("consumes", "produces", "schemes", "parameters")}
        new["parameters"] = [_parameter(one) for one in listed if not _in_body(one)]
        consumes = _texts(old.get("consumes")) or self._consumes
        if body := self._body(parts, consumes):
            new["requestBody"] = body
        return new

    def _body(self, parts: list[dict[str, Any]], consumes: list[str]) -> dict[str, Any] | None:
        whole = next((one for one in parts if one.get("in") == "body"), None)
        if whole is not None:
            content = {kind: {"schema": whole.get("schema", {})} for kind in consumes}
            return {
                "content": content,
                "required": whole.get("required") is True,
                "description": whole.get("description", ""),
            }
        if not parts:
            return None
        has_file = any(one.get("type") == "file" for one in parts)
        kind = next((one for one in consumes if one in _FORMS), _FORMS[0])
        properties: dict[str, Any] = {}
        for one in parts:
            schema = {key: one[key] for key in _SCHEMA if key in one}
            if one.get("type") == "file":
                schema = {"type": "string", "format": "binary"}
            properties[str(one.get("name"))] = schema | (
                {"description": one["description"]} if "description" in one else {}
            )
        required = [str(one.get("name")) for one in parts if one.get("required") is True]
        schema = {"type": "object", "properties": properties} | ({"required": required} if required else {})
        return {"content": {_FORMS[1] if has_file else kind: {"schema": schema}}, "required": bool(required)}


def _parameter(old: dict[str, Any]) -> dict[str, Any]:
    """One parameter that is none of the body; a reference that cannot be followed stays one."""
    if "$ref" in old:
        return old
    new = {key: value for key, value in old.items() if key not in (*_SCHEMA, "collectionFormat")}
    new["schema"] = {key: old[key] for key in _SCHEMA if key in old}
    if old.get("type") == "array":
        style = _STYLES.get(str(old.get("collectionFormat")), _STYLES["csv"])
        new |= style if old.get("in") == "query" else {"explode": False}
    return new


def _in_body(parameter: dict[str, Any]) -> bool:
    return parameter.get("in") in ("body", "formData")


def _scheme(old: dict[str, Any]) -> dict[str, Any]:
    if old.get("type") == "basic":
        return {"type": "http", "scheme": "basic"}
    return old


def _objects(value: Any) -> dict[str, dict[str, Any]]:
    return {key: one for key, one in value.items() if isinstance(one, dict)} if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
