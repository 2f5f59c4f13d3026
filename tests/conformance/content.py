"""The part that gives fixed content of every kind: tools, prompts and resources that need nothing from the client."""

import base64
import json
import struct
import zlib
from typing import Any

import mcp_types as types

from parts import Blocks, Call, Part, user

content = Part()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = b"\x89PNG\r\n\x1a\n" + b"".join(
    [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")),
        _chunk(b"IEND", b""),
    ]
)
"""One red pixel."""

_SAMPLES = bytes(8)
WAV = b"".join(
    [
        b"RIFF" + struct.pack("<I", 36 + len(_SAMPLES)) + b"WAVE",
        b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8),
        b"data" + struct.pack("<I", len(_SAMPLES)) + _SAMPLES,
    ]
)
"""A millisecond of silence."""


def image() -> types.ImageContent:
    return types.ImageContent(data=base64.b64encode(PNG).decode(), mime_type="image/png")


def embedded(uri: str, mime_type: str, text: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=text))


@content.tool("test_simple_text", "Gives a text")
async def simple_text(call: Call) -> str:
    return "A text, and nothing else."


@content.tool("test_image_content", "Gives an image")
async def image_content(call: Call) -> Blocks:
    return [image()]


@content.tool("test_audio_content", "Gives a sound")
async def audio_content(call: Call) -> Blocks:
    return [types.AudioContent(data=base64.b64encode(WAV).decode(), mime_type="audio/wav")]


@content.tool("test_embedded_resource", "Gives a resource inside of its result")
async def embedded_resource(call: Call) -> Blocks:
    return [embedded("test://embedded-resource", "text/plain", "A resource inside of a result.")]


@content.tool("test_multiple_content_types", "Gives a text, an image and a resource")
async def multiple_content_types(call: Call) -> Blocks:
    resource = embedded("test://mixed-content-resource", "application/json", json.dumps({"mixed": True}))
    return [types.TextContent(text="A text, an image and a resource."), image(), resource]


@content.tool("test_error_handling", "Fails")
async def error_handling(call: Call) -> str:
    raise ValueError("This tool fails whenever it is called.")


JSON_SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@content.tool("json_schema_2020_12_tool", "Has a schema whose keywords must arrive unharmed", JSON_SCHEMA_2020_12)
async def json_schema_2020_12(call: Call) -> str:
    return json.dumps(dict(call.arguments), ensure_ascii=False)


REGION = {
    "type": "object",
    "properties": {"region": {"type": "string", "description": "Where it runs", "x-mcp-header": "Region"}},
    "required": ["region"],
}


@content.tool("test_parameter_in_header", "Has a parameter that HTTP clients repeat in a header", REGION)
async def parameter_in_header(call: Call) -> str:
    return f"It runs in {call.arguments['region']}."


@content.prompt("test_simple_prompt", "A prompt without arguments")
async def simple_prompt(call: Call) -> list[types.PromptMessage]:
    return user("Say something nice.")


@content.prompt("test_prompt_with_image", "A prompt with an image")
async def prompt_with_image(call: Call) -> list[types.PromptMessage]:
    return user(image(), "What is in this image?")


content.resource("test://static-text", "static text", "text/plain", "The text of a resource.")
content.resource("test://static-binary", "static image", "image/png", PNG)
