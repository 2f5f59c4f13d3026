"""What is right of a definition, as types: reading one into them says so, and its name."""

from collections.abc import Callable
from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType, field
from msgspec.json import Decoder

from mcp_endpoint.wire.definitions.schema_types import ObjectSchema
from mcp_endpoint.wire.mcp import Kind


class _Annotations(Struct, gc=False):
    title: str | UnsetType = UNSET
    read_only: bool | UnsetType = field(name="readOnlyHint", default=UNSET)
    destructive: bool | UnsetType = field(name="destructiveHint", default=UNSET)
    idempotent: bool | UnsetType = field(name="idempotentHint", default=UNSET)
    open_world: bool | UnsetType = field(name="openWorldHint", default=UNSET)


class _Icon(Struct, gc=False):
    src: str
    mime_type: str | UnsetType = field(name="mimeType", default=UNSET)
    sizes: list[str] | UnsetType = UNSET
    theme: Literal["light", "dark"] | UnsetType = UNSET


class _Execution(Struct, gc=False):
    task_support: Literal["required", "optional", "forbidden"] | UnsetType = field(name="taskSupport", default=UNSET)


class _Named(Struct, gc=False):
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    icons: list[_Icon] | UnsetType = UNSET
    meta: dict[str, Raw] | UnsetType = field(name="_meta", default=UNSET)


class _Tool(_Named, gc=False, kw_only=True):
    input_schema: ObjectSchema = field(name="inputSchema")
    output_schema: ObjectSchema | UnsetType = field(name="outputSchema", default=UNSET)
    annotations: _Annotations | UnsetType = UNSET
    execution: _Execution | UnsetType = UNSET


class _Argument(Struct, gc=False):
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    required: bool | UnsetType = UNSET


class _Prompt(_Named, gc=False):
    arguments: list[_Argument] | UnsetType = UNSET


class _ResourceAnnotations(Struct, gc=False):
    audience: list[Literal["user", "assistant"]] | UnsetType = UNSET
    priority: float | UnsetType = UNSET
    last_modified: str | UnsetType = field(name="lastModified", default=UNSET)


class _Template(_Named, gc=False, kw_only=True):
    uri_template: str = field(name="uriTemplate")
    mime_type: str | UnsetType = field(name="mimeType", default=UNSET)
    annotations: _ResourceAnnotations | UnsetType = UNSET


class _Resource(_Named, gc=False, kw_only=True):
    uri: str
    mime_type: str | UnsetType = field(name="mimeType", default=UNSET)
    size: int | UnsetType = UNSET
    annotations: _ResourceAnnotations | UnsetType = UNSET


READ: dict[Kind, Callable[[Raw | bytes], Any]] = {
    Kind.TOOLS: Decoder(_Tool).decode,
    Kind.PROMPTS: Decoder(_Prompt).decode,
    Kind.RESOURCES: Decoder(_Resource).decode,
    Kind.TEMPLATES: Decoder(_Template).decode,
}
"""Readers of the kinds. Each raises for what is not right."""
NAMING = {Kind.TOOLS: "name", Kind.PROMPTS: "name", Kind.RESOURCES: "uri", Kind.TEMPLATES: "uri_template"}
