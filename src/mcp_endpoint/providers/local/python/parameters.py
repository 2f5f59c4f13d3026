"""What a Python function takes: a model of its parameters out of type hints and docstring, which checks arguments.

pydantic makes the schema and checks; docstring-parser reads what a docstring says of each parameter (Google, NumPy and
reST style).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from mcp_endpoint.providers.arguments.errors import BadArguments
from mcp_endpoint.providers.arguments.meanings import declared
from mcp_endpoint.providers.local.python.results import untitled
from mcp_endpoint.tools import Context

if TYPE_CHECKING:
    from mcp_endpoint.providers.arguments.reader import Reader

MOST_COMPLAINTS = 5


class Unusable(Exception):
    """A decorated function cannot be offered; the message says which one and why."""


@dataclass(frozen=True)
class Parameters:
    """What a function takes: the model that checks it, and for each of its fields the parameter it is for."""

    model: type[BaseModel]
    names: Mapping[str, str]
    context: str | None
    """The parameter that gets the Context."""

    def schema(self) -> dict[str, Any]:
        """Of a call's arguments, in JSON Schema 2020-12."""
        return untitled(self.model.model_json_schema(by_alias=True))

    def fields(self) -> list[tuple[str, FieldInfo]]:
        """Each parameter's name and what is known of it."""
        return [(self.names[name], field) for name, field in self.model.model_fields.items()]

    def read(self, given: Mapping[str, Any], ignored: Callable[[str], None]) -> dict[str, Any]:
        """The arguments for the function; `ignored` is told names that it has not. Raises BadArguments."""
        known, unknown = declared(given, self.names.values())
        for name in unknown:
            ignored(name)
        try:
            read = self.model.model_validate(known)
        except ValidationError as error:
            complaint = _complaint(error, unknown)  # about what was sent, and not about what is made of it
            try:
                read = self.model.model_validate(self._repaired(known))
            except ValidationError:
                raise BadArguments(complaint) from None
        return {name: getattr(read, field) for field, name in self.names.items()}

    def _repaired(self, given: dict[str, Any]) -> dict[str, Any]:
        return given if self._reader is None else self._reader.repaired(given)[0]

    @cached_property
    def _reader(self) -> "Reader | None":
        from mcp_endpoint.providers.arguments.reader import Reader

        try:
            return Reader(self.schema())
        except PydanticUserError:
            return None  # types that have no schema are read by pydantic alone


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Read a function's signature. Raises Unusable, or what pydantic raises for a type that has no schema."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise Unusable("a generator cannot be called; return a list")
    hints = hints_of(function)
    doc = docstring_parser.parse(inspect.getdoc(function) or "")
    told = {part.arg_name: part.description for part in doc.params if part.description}
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    context = None
    for index, (name, parameter) in enumerate(inspect.signature(function).parameters.items()):
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise Unusable(f"the parameter {name} must be one that is given by its name")
        annotation = hints.get(name, Any)
        if Context in (annotation, *get_args(annotation)):
            context = name
            continue
        described = any(isinstance(one, FieldInfo) and one.description for one in _metadata(annotation))
        facts: dict[str, Any] = {} if described or name not in told else {"description": told[name]}
        default = ... if parameter.default is parameter.empty else parameter.default
        # Under a name of ours: a parameter may be called as something that a model has of its own, such as `copy`.
        fields[f"p{index}"] = annotation, Field(default, alias=name, **facts)
        names[f"p{index}"] = name
    model = create_model("Arguments", __config__=ConfigDict(extra="forbid"), **fields)
    return Parameters(model, names, context)


def _metadata(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _complaint(error: ValidationError, unknown: list[str]) -> str:
    """What does not fit, in plain words, and which names are no parameters: at most five of both."""
    found = error.errors(include_url=False, include_context=False)
    parts = []
    for one in found[:MOST_COMPLAINTS]:
        place = ".".join(str(step) for step in one["loc"]) or "arguments"
        match one["type"]:
            case "missing":
                parts.append(f"{place} 缺少 / {place} is missing")
            case "extra_forbidden":
                parts.append(f"{place} 不是参数 / {place} is no parameter")
            case _:
                given = repr(one["input"])
                shown = given if len(given) <= 60 else given[:60] + "…"
                parts.append(f"{place} = {shown}: {one['msg']}")
    parts += [f"{name[:60]} 不是参数 / {name[:60]} is no parameter" for name in unknown[: MOST_COMPLAINTS - len(parts)]]
    more = f"; … ({len(found)})" if len(found) > MOST_COMPLAINTS else ""
    return f"参数有误 / The arguments do not fit: {'; '.join(parts)}{more}"


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's type hints. Raises NameError for one that names nothing."""
    return get_type_hints(function, include_extras=True)
