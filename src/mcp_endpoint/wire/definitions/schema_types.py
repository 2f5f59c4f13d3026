"""What is right of a JSON Schema, as types: reading a schema into them says so, at a fraction of the cost of a walk."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

TypeName = Literal["string", "number", "integer", "boolean", "array", "object", "null"]


class _Keywords(Struct, gc=False):
    """Those that mean the same in every schema."""

    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    format: str | UnsetType = UNSET
    pattern: str | UnsetType = UNSET
    ref: str | UnsetType = field(name="$ref", default=UNSET)
    id: str | UnsetType = field(name="$id", default=UNSET)
    schema: str | UnsetType = field(name="$schema", default=UNSET)
    dynamic_anchor: str | UnsetType = field(name="$dynamicAnchor", default=UNSET)
    dynamic_reference: str | UnsetType = field(name="$dynamicRef", default=UNSET)
    anchor: str | UnsetType = field(name="$anchor", default=UNSET)
    comment: str | UnsetType = field(name="$comment", default=UNSET)
    encoding: str | UnsetType = field(name="contentEncoding", default=UNSET)
    media_type: str | UnsetType = field(name="contentMediaType", default=UNSET)
    pattern_properties: "dict[str, Schema | bool] | UnsetType" = field(name="patternProperties", default=UNSET)
    dependent_schemas: "dict[str, Schema | bool] | UnsetType" = field(name="dependentSchemas", default=UNSET)
    defs: "dict[str, Schema | bool] | UnsetType" = field(name="$defs", default=UNSET)
    definitions: "dict[str, Schema | bool] | UnsetType" = UNSET
    dependencies: "dict[str, Schema | bool | list[str]] | UnsetType" = UNSET
    dependent_required: dict[str, list[str]] | UnsetType = field(name="dependentRequired", default=UNSET)
    required: list[str] | UnsetType = UNSET
    enum: Annotated[list[Raw], Meta(min_length=1)] | UnsetType = UNSET
    any_of: "Schemas | UnsetType" = field(name="anyOf", default=UNSET)
    one_of: "Schemas | UnsetType" = field(name="oneOf", default=UNSET)
    all_of: "Schemas | UnsetType" = field(name="allOf", default=UNSET)
    prefix_items: "Schemas | UnsetType" = field(name="prefixItems", default=UNSET)
    items: "Schema | bool | list[Schema | bool] | UnsetType" = UNSET
    additional_properties: "Schema | bool | UnsetType" = field(name="additionalProperties", default=UNSET)
    additional_items: "Schema | bool | UnsetType" = field(name="additionalItems", default=UNSET)
    unevaluated_properties: "Schema | bool | UnsetType" = field(name="unevaluatedProperties", default=UNSET)
    unevaluated_items: "Schema | bool | UnsetType" = field(name="unevaluatedItems", default=UNSET)
    not_: "Schema | bool | UnsetType" = field(name="not", default=UNSET)
    if_: "Schema | bool | UnsetType" = field(name="if", default=UNSET)
    then: "Schema | bool | UnsetType" = UNSET
    else_: "Schema | bool | UnsetType" = field(name="else", default=UNSET)
    contains: "Schema | bool | UnsetType" = UNSET
    property_names: "Schema | bool | UnsetType" = field(name="propertyNames", default=UNSET)
    minimum: float | UnsetType = UNSET
    maximum: float | UnsetType = UNSET
    exclusive_minimum: float | UnsetType = field(name="exclusiveMinimum", default=UNSET)
    exclusive_maximum: float | UnsetType = field(name="exclusiveMaximum", default=UNSET)
    multiple_of: float | UnsetType = field(name="multipleOf", default=UNSET)
    min_length: int | UnsetType = field(name="minLength", default=UNSET)
    max_length: int | UnsetType = field(name="maxLength", default=UNSET)
    min_items: int | UnsetType = field(name="minItems", default=UNSET)
    max_items: int | UnsetType = field(name="maxItems", default=UNSET)
    min_properties: int | UnsetType = field(name="minProperties", default=UNSET)
    max_properties: int | UnsetType = field(name="maxProperties", default=UNSET)
    min_contains: int | UnsetType = field(name="minContains", default=UNSET)
    max_contains: int | UnsetType = field(name="maxContains", default=UNSET)
    unique_items: bool | UnsetType = field(name="uniqueItems", default=UNSET)
    deprecated: bool | UnsetType = UNSET
    read_only: bool | UnsetType = field(name="readOnly", default=UNSET)
    write_only: bool | UnsetType = field(name="writeOnly", default=UNSET)
    nullable: bool | UnsetType = UNSET


class Schema(_Keywords, gc=False):
    """A schema all of whose keywords have values of the right types."""

    type: TypeName | list[TypeName] | UnsetType = UNSET
    properties: "dict[str, Schema | bool] | UnsetType" = UNSET


Schemas = Annotated[list[Schema | bool], Meta(min_length=1)]


class ObjectSchema(_Keywords, gc=False, kw_only=True):
    """That of a tool's input or output: of an object, and up to 2025-11-25 none of its properties may be a boolean."""

    type: Literal["object"]
    properties: dict[str, Schema] | UnsetType = UNSET
