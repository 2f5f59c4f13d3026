"""Definitions of tools, prompts and resources: made fit for every client, or left out with a remark.

Lowest first: flaws, ecma262, references and schema_types; definition_types, schema_repair and inlined_schema;
tool_schemas; member_repair and client_views; definition_repair.
"""
