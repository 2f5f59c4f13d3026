"""An independent reading of OpenAPI documents: sample arguments by schema, and what a request with them must look like.

It shares no code with what it checks. It reads the document itself, follows its references, takes what arrived apart
(path, query, headers, body) and compares it with the values that were given.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

DEEPEST = 4


class Reading:
    """One document of version 2 or 3."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.old = str(document.get("swagger", "")).startswith("2")

    def follow(self, node: Any) -> Any:
        for _ in range(20):
            if not isinstance(node, dict) or not isinstance(node.get("$ref"), str):
                return node
            target: Any = self.document
            for step in node["$ref"].removeprefix("#/").split("/"):
                step = unquote(step).replace("~1", "/").replace("~0", "~")
                target = target[int(step) if isinstance(target, list) else step]
            node = target
        raise AssertionError("references lead round")

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any], list[dict[str, Any]]]]:
        """Path, method, operation, and its parameters with those of its path."""
        for path, node in self.document["paths"].items():
            item = self.follow(node)
            for method in ("get", "put", "post", "patch", "head", "options", "trace"):
                if isinstance(operation := item.get(method), dict):
                    listed: dict[tuple[str, str], dict[str, Any]] = {}
                    for one in [*item.get("parameters", []), *operation.get("parameters", [])]:
                        parameter = self.follow(one)
                        listed[parameter["in"], parameter["name"]] = parameter
                    yield path, method, operation, list(listed.values())

    def keys(self) -> set[tuple[str, str]]:
        """Where the document's credentials go: nobody is asked for them."""
        named = self.document.get("securityDefinitions") or self.document.get("components", {}).get(
            "securitySchemes", {}
        )
        schemes = [self.follow(one) for one in named.values()]
        return {(one["in"], one["name"].lower()) for one in schemes if one.get("type") == "apiKey"}

    def body(self, operation: dict[str, Any], listed: list[dict[str, Any]]) -> tuple[str, Any, dict[str, Any]]:
        """The kind of a body, its schema and encoding; the first of those that are preferred."""
        if self.old:
            whole = next((one for one in listed if one["in"] == "body"), None)
            return ("application/json", whole.get("schema", {}), {}) if whole else ("", {}, {})
        content = (self.follow(operation.get("requestBody")) or {}).get("content") or {}
        json_kinds = [one for one in content if one.endswith("+json") and "*" not in one]
        any_kinds = [one for one in content if one == "*/*"]
        forms = ("application/x-www-form-urlencoded", "multipart/form-data")
        for kind in ("application/json", *json_kinds, *any_kinds, *forms):
            if kind in content:
                media = content[kind]
                return kind.replace("*/*", "application/json"), media.get("schema", {}), media.get("encoding", {})
        return "", {}, {}

    def sample(self, node: Any, depth: int = 0) -> Any:
        """A value that a schema allows, as far as it can be seen; strings have what must be encoded."""
        schema = self.follow(node)
        if not isinstance(schema, dict):
            return "x"
        for key in ("const", "default"):
            if schema.get(key) is not None:
                return schema[key]
        if schema.get("enum"):
            return next((one for one in schema["enum"] if one not in (None, "")), schema["enum"][0])
        for key in ("oneOf", "anyOf"):
            if schema.get(key):
                return self.sample(schema[key][0], depth + 1)
        if schema.get("allOf"):
            parts = [self.sample(one, depth + 1) for one in schema["allOf"]]
            merged = {name: one for part in parts if isinstance(part, dict) for name, one in part.items()}
            return merged if any(isinstance(part, dict) for part in parts) else parts[0]
        kind = schema.get("type")
        kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
        if kind == "object" or (kind is None and "properties" in schema):
            properties = schema.get("properties", {})
            wanted = (
                list(properties) if depth < 2 else [name for name in schema.get("required", []) if name in properties]
            )
            if depth > DEEPEST + 4:
                return {}
            return {
                name: self.sample(properties[name], depth + 1)
                for name in wanted
                if not self.follow(properties[name]).get("readOnly")
            }
        if kind == "array":
            return [self.sample(schema.get("items", {}), depth + 1)] * max(1, schema.get("minItems", 1))
        if kind in ("integer", "number"):
            low, high = schema.get("minimum", 0), schema.get("maximum", 10**6)
            number = max(low + (1 if schema.get("exclusiveMinimum") else 0), min(3, high))
            step = schema.get("multipleOf") or 1
            return -(-number // step) * step if step >= 1 else number
        if kind == "boolean":
            return True
        if schema.get("format") == "binary" or kind == "file":
            return "AAEC"
        text = "a b&c/é=1+"
        text += "x" * (schema.get("minLength", 0) - len(text))
        return text[: schema.get("maxLength", 1000)] or "x"


def written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def leaves(name: str, value: Any) -> list[tuple[str, str]]:
    """What brackets spell out."""
    if isinstance(value, dict):
        return [pair for key, one in value.items() for pair in leaves(f"{name}[{key}]", one)]
    if isinstance(value, list):
        nested = any(isinstance(one, dict | list) for one in value)
        return [pair for at, one in enumerate(value) for pair in leaves(f"{name}[{at if nested else ''}]", one)]
    return [(name, "" if value is None else written(value))]


def pairs_of(name: str, value: Any, style: str, explode: bool, *, json_text: bool = False) -> list[tuple[str, str]]:
    """What a query or a form must have of one value."""
    if json_text:
        return [(name, json.dumps(value, ensure_ascii=False))]
    if style == "deepObject" and isinstance(value, dict | list):
        return leaves(name, value)
    sep = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(style, ",")
    if isinstance(value, list):
        return [(name, written(one)) for one in value] if explode else [(name, sep.join(map(written, value)))]
    if isinstance(value, dict):
        if explode:
            return [(key, written(one)) for key, one in value.items()]
        return [(name, sep.join(text for key, one in value.items() for text in (key, written(one))))] if value else []
    return [(name, written(value))]


def style_of(parameter: dict[str, Any], old: bool) -> tuple[str, bool]:
    """The style of a query parameter, and whether it is exploded."""
    if old:
        style = {"ssv": "spaceDelimited", "pipes": "pipeDelimited"}.get(parameter.get("collectionFormat", ""), "form")
        return style, parameter.get("collectionFormat") == "multi" or parameter.get("type") != "array"
    style = parameter.get("style", "form")
    return style, parameter.get("explode", style == "form")


def fits_template(path: str, values: dict[str, Any], seen: str) -> bool:
    """Whether a path that arrived is the template with these values in its gaps, as whole encoded pieces."""
    form, gaps = "", []
    for part in re.split(r"(\{[^{}]*\})", path):
        if part.startswith("{"):
            gaps.append(part[1:-1])
            form += "([^/?#]*)"
        else:
            form += re.escape(part)
    found = re.fullmatch(form, seen)
    return found is not None and all(
        unquote(text) == written(values[gap]) or not isinstance(values[gap], str | int | float)
        for gap, text in zip(gaps, found.groups(), strict=True)
    )
