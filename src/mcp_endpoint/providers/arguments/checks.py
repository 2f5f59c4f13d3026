"""Checks values against JSON schemas of third parties (2020-12), in bounded time."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from msgspec.json import encode

from mcp_endpoint.providers.arguments.errors import TooComplex
from mcp_endpoint.providers.arguments.meanings import is_word_for_nothing
from mcp_endpoint.wire.absent_arguments import is_refused_by_format, is_refused_by_pattern

MOST_REFERENCES = 100_000
"""References that are followed for one value: it can make a schema follow itself without an end."""


class _Run:
    """What is known so far of one value and its schema."""

    def __init__(self) -> None:
        self.left = MOST_REFERENCES
        self.found: dict[tuple[type, str, int], tuple[Any, list[ValidationError]]] = {}
        """What is wrong with a part of the value by a reference. It holds the part, so that no other gets its id."""


_run: ContextVar[_Run] = ContextVar("run")


def _reference(validator: Any, pointer: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Looked up once for each part of the value: forms of forms would else be tried each with each."""
    run = _run.get()
    run.left -= 1
    if run.left < 0:
        raise TooComplex
    check = Draft202012Validator.VALIDATORS["$ref"]
    if not isinstance(instance, dict | list):
        yield from check(validator, pointer, instance, schema)
        return
    key = type(validator), pointer, id(instance)
    if key not in run.found:
        run.found[key] = instance, list(check(validator, pointer, instance, schema))
    for error in run.found[key][1]:
        yield ValidationError.create_from(error)  # whoever takes it writes into it where it was found


def _unique(_validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """In linear time, which the library's own is not."""
    if wanted is True and isinstance(instance, list):
        distinct = {encode(one, order="sorted") for one in instance}
        if len(distinct) < len(instance):
            yield ValidationError(f"{instance!r} has non-unique elements")


def _empty_pattern(_validator: Any, pattern: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if instance == "" and is_refused_by_pattern(pattern):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _empty_format(_validator: Any, name: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    word = is_word_for_nothing(instance) and name not in ("hostname", "idn-hostname")
    if (instance == "" or word) and is_refused_by_format(name):
        yield ValidationError(f"{instance!r} is no {name}")


# A regular expression of a third party could search for ever; the server that wrote it checks it anyway.
Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {"$ref": _reference, "uniqueItems": _unique, "pattern": None, "patternProperties": None},
)
# What is looked at more closely only where something better can be made of it: 5.0 is an integer, but 5 is what servers
# read; an empty text is no date.
StrictValidator: Any = extend(  # type: ignore[no-untyped-call]
    Validator,
    {"pattern": _empty_pattern, "format": _empty_format},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _checker, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


@contextmanager
def bounded() -> Iterator[None]:
    """Checks within have MOST_REFERENCES together; TooComplex is raised where that is not enough."""
    token = _run.set(_Run())
    try:
        yield
    finally:
        _run.reset(token)
