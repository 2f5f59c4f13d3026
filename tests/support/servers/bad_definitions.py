"""Definitions `b` as programs send them beside a good tool `a`, and what is to become of each."""

import json
from enum import Enum, auto
from typing import Any

from support.peers import Frame, tool

OBJECT: Frame = {"type": "object"}
GOOD = tool("a", description="the good one")


class Fate(Enum):
    MENDED = auto()
    LEFT_OUT = auto()


def inputs(schema: object, **members: object) -> Frame:
    return {"name": "b", "inputSchema": schema, **members}


def outputs(schema: object) -> Frame:
    return inputs(OBJECT, outputSchema=schema)


WHEN = {"type": "object", "properties": {"day": {"type": "string"}, "then": {"$ref": "#/$defs/When"}}}
BAD: dict[str, tuple[Any, Fate]] = {
    "nulls": (inputs({"type": "object", "properties": None, "required": None}, description=None), Fate.MENDED),
    "more nulls": (
        inputs(OBJECT, title=None, annotations=None, icons=None, outputSchema=None, _meta=None),
        Fate.MENDED,
    ),
    "nulls inside": (inputs(OBJECT | {"properties": {"x": None, "y": {"type": None, "enum": None}}}), Fate.MENDED),
    "required true": (inputs(OBJECT | {"required": True}), Fate.MENDED),
    "required 1": (inputs(OBJECT | {"required": 1}), Fate.MENDED),
    "required of a property": (inputs(OBJECT | {"properties": {"x": {"required": True}}}), Fate.MENDED),
    "required has null": (inputs(OBJECT | {"properties": {"x": {}}, "required": ["x", None]}), Fate.MENDED),
    "properties a list": (inputs(OBJECT | {"properties": []}), Fate.MENDED),
    "property a boolean": (inputs(OBJECT | {"properties": {"x": True}}), Fate.MENDED),
    "properties as text": (inputs(OBJECT | {"properties": '{"x":{"type":"string"}}'}), Fate.MENDED),
    "description a number": (inputs(OBJECT, description=5), Fate.MENDED),
    "description an object": (inputs(OBJECT, description={"zh": "灯"}), Fate.MENDED),
    "title and icons": (inputs(OBJECT, title=["x"], icons={"src": "x:y"}), Fate.MENDED),
    "hints": (inputs(OBJECT, annotations={"readOnlyHint": "true", "title": None}), Fate.MENDED),
    "annotations a list": (inputs(OBJECT, annotations=[], _meta=[], execution=[]), Fate.MENDED),
    "no input": ({"name": "b"}, Fate.MENDED),
    "input null": (inputs(None), Fate.MENDED),
    "input empty": (inputs({}), Fate.MENDED),
    "input a list": (inputs([]), Fate.MENDED),
    "input true": (inputs(True), Fate.MENDED),
    "input as text": (inputs('{"type":"object"}'), Fate.MENDED),
    "input without type": (inputs({"properties": {"x": {}}}), Fate.MENDED),
    "input type null": (inputs({"type": None}), Fate.MENDED),
    "input type list": (inputs({"type": ["object", "null"]}), Fate.MENDED),
    "input type spelled otherwise": (inputs({"type": "OBJECT"}), Fate.MENDED),
    "input any of objects": (inputs({"anyOf": [OBJECT, {"type": "null"}]}), Fate.MENDED),
    "input a reference": (inputs({"$ref": "#/$defs/When", "$defs": {"When": WHEN}}), Fate.MENDED),
    "input under another name": ({"name": "b", "parameters": OBJECT}, Fate.MENDED),
    "reference to nothing": (inputs(OBJECT | {"properties": {"x": {"$ref": "#/$defs/X"}}}), Fate.MENDED),
    "output a list": (outputs([]), Fate.MENDED),
    "output of an array": (outputs({"type": "array", "items": {}}), Fate.MENDED),
    "output a reference": (outputs({"$ref": "#/$defs/When", "$defs": {"When": WHEN}}), Fate.MENDED),
    "output a reference to nothing": (outputs({"$ref": "#/$defs/When"}), Fate.MENDED),
    "output a text": (outputs("object"), Fate.MENDED),
    "output does not compile": (outputs(OBJECT | {"properties": {"x": {"pattern": "(?P<x>y)"}}}), Fate.MENDED),
    "output of unknown types": (
        outputs(OBJECT | {"properties": {"x": {"type": "str"}, "y": {"$ref": 5}}}),
        Fate.MENDED,
    ),
    "input a string": (inputs({"type": "string"}), Fate.LEFT_OUT),
    "input any of strings": (inputs({"anyOf": [{"type": "string"}, {"type": "number"}]}), Fate.LEFT_OUT),
    "input a number": (inputs(1), Fate.LEFT_OUT),
    "nested too deeply": (inputs(OBJECT | {"default": json.loads("[" * 150 + "]" * 150)}), Fate.LEFT_OUT),
    "no name": ({"inputSchema": OBJECT}, Fate.LEFT_OUT),
    "name null": ({"name": None, "inputSchema": OBJECT}, Fate.LEFT_OUT),
    "name a number": ({"name": 5, "inputSchema": OBJECT}, Fate.LEFT_OUT),
    "null": (None, Fate.LEFT_OUT),
    "number": (5, Fate.LEFT_OUT),
    "list": ([], Fate.LEFT_OUT),
}
