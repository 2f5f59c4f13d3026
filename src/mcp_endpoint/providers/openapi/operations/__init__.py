"""The operations of an OpenAPI document, read as tools. Pure.

Lowest first: operation, schema, servers, operation_reader, operations.
"""
