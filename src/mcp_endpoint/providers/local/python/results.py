"""What a Python function returned, as MCP has it: text that a model reads, and structured content where it may be."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

from mcp_endpoint.tools import Image

_NO_SCHEMA = (None, type(None), Any, str, bytes)


@dataclass(frozen=True)
class Output:
    """How a tool's value becomes a result; without a schema there is no structured content."""

    adapter: TypeAdapter[Any] | None = None
    schema: dict[str, Any] | None = None
    wrapped: bool = False
    """Whether the value stands in a member `result`, as structured content is always an object."""

    def result(self, value: Any) -> dict[str, object]:
        """The result of `tools/call`. Raises ValueError if the value is not of the declared type."""
        if self.adapter is None:
            return {"content": [_block(one) for one in (value if _is_blocks(value) else [value])]}
        try:
            checked = self.adapter.validate_python(value)
        except ValidationError as error:
            raise ValueError(f"it returned something else than it declares: {error.errors()[0]['msg']}") from None
        plain = self.adapter.dump_python(checked, mode="json", by_alias=True)
        return {"content": [_block(plain)], "structuredContent": {"result": plain} if self.wrapped else plain}


def output_of(annotation: Any) -> Output:
    """How values of the annotated type become results; a type without a schema becomes text only."""
    if any(annotation is one for one in _NO_SCHEMA) or _names_image(annotation):
        return Output()
    try:
        adapter = TypeAdapter(annotation)
        schema = adapter.json_schema(mode="serialization", by_alias=True)
    except (PydanticUserError, TypeError, ValueError, RecursionError):
        return Output()
    schema = untitled(schema)
    if schema.get("type") == "object":
        return Output(adapter, schema)
    if not schema or (get_origin(annotation) is None and annotation is object):
        return Output()
    outer: dict[str, Any] = {"type": "object", "properties": {"result": schema}, "required": ["result"]}
    if "$defs" in schema:
        outer["$defs"] = schema.pop("$defs")
    return Output(adapter, outer, wrapped=True)


def _names_image(annotation: Any) -> bool:
    return annotation is Image or any(_names_image(one) for one in get_args(annotation))


def untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of pydantic's without the titles that only say the name again."""
    for one in [schema, *schema.get("$defs", {}).values()]:
        one.pop("title", None)
        for inner in one.get("properties", {}).values():
            if isinstance(inner, dict):
                inner.pop("title", None)
    return schema


def _is_blocks(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(one, Image) for one in value)


def _block(value: Any) -> dict[str, object]:
    if isinstance(value, Image):
        return {"type": "image", "data": base64.b64encode(value.data).decode(), "mimeType": value.mime_type}
    return {"type": "text", "text": as_text(value)}


def as_text(value: Any) -> str:
    """A value as a text that a model reads: a text as it is, anything else as JSON. Raises ValueError."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)


def prompt_messages(value: Any) -> list[dict[str, object]]:
    """A prompt's messages: of one text, or of pairs of role and text. Raises ValueError for anything else."""
    pairs: Sequence[Any] = [("user", value)] if isinstance(value, str) else value
    messages: list[dict[str, object]] = []
    for pair in pairs if isinstance(pairs, list | tuple) else [pairs]:
        match pair:
            case (("user" | "assistant") as role, str() as text):
                messages.append({"role": role, "content": {"type": "text", "text": text}})
            case _:
                raise ValueError('a prompt returns a text, or a list of ("user" or "assistant", text)')
    return messages


def resource_contents(uri: str, value: Any, mime_type: str | None) -> dict[str, object]:
    """One resource as it is read: text, or bytes as base64."""
    if isinstance(value, bytes):
        blob = base64.b64encode(value).decode()
        return {"uri": uri, "mimeType": mime_type or "application/octet-stream", "blob": blob}
    guess = "text/plain" if isinstance(value, str) else "application/json"
    return {"uri": uri, "mimeType": mime_type or guess, "text": as_text(value)}
