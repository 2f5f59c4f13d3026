"""The text of an OpenAPI document, and of those it refers to. Pure.

Lowest first: values, yaml_text, texts, references, version_2, document, search.
"""
