"""Python functions as tools, prompts and resources: schemas from their type hints, descriptions from their docstrings.

pydantic makes the schema of the parameters and checks what a call brings; docstring-parser reads what a docstring says
of each of them (Google, NumPy and reST style).
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from urllib.parse import unquote

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from mcp_endpoint import tools
from mcp_endpoint.providers.offer import BadArguments, Call, Offered, Refused
from mcp_endpoint.providers.results import output_of, prompt_messages, resource_contents, untitled
from mcp_endpoint.providers.threads import Threads
from mcp_endpoint.tools import Caller, Context, Mark
from mcp_endpoint.wire.mcp import Kind

MOST_COMPLAINTS = 5
_GAP = re.compile(r"\{(\w+)\}")


class Unusable(Exception):
    """A decorated function cannot be offered; the message says which one and why."""


@dataclass(frozen=True)
class _Parameters:
    """What a function takes: the model that checks it, and for each of its fields the parameter it is for."""

    model: type[BaseModel]
    names: Mapping[str, str]
    context: str | None

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments for the function. Raises BadArguments."""
        try:
            read = self.model.model_validate(given)
        except ValidationError as error:
            raise BadArguments(_complaint(error)) from None
        return {name: getattr(read, field) for field, name in self.names.items()}


def offer_function(function: Callable[..., Any], mark: Mark, threads: Threads) -> tuple[Kind, Offered]:
    """A decorated function as what it offers, and of which kind. Raises Unusable."""
    name: str = mark.name or function.__name__
    try:
        if not tools.NAME.fullmatch(name) and mark.kind is not tools.Kind.RESOURCE:
            raise Unusable("its name has other characters than letters, digits, _ - and .")
        match mark.kind:
            case tools.Kind.TOOL:
                return Kind.TOOLS, _tool(function, mark, name, threads)
            case tools.Kind.PROMPT:
                return Kind.PROMPTS, _prompt(function, mark, name, threads)
            case tools.Kind.RESOURCE:
                return _resource(function, mark, name, threads)
    except (Unusable, PydanticUserError, NameError, TypeError, ValueError) as error:
        raise Unusable(f"{_place(function)}@{mark.kind.value} {name}: {error}") from error


def _place(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}: " if code else ""


def _tool(function: Callable[..., Any], mark: Mark, name: str, threads: Threads) -> Offered:
    parameters = _parameters(function)
    output = output_of(_hints(function).get("return"))
    run = _runner(function, parameters, threads)

    async def answer(call: Call) -> Mapping[str, object]:
        return output.result(await run(call, parameters.read(call.arguments)))

    definition = _named(function, mark, name) | {"inputSchema": _input_schema(parameters)}
    if output.schema is not None:
        definition["outputSchema"] = output.schema
    if mark.hints:
        definition["annotations"] = dict(mark.hints)
    return Offered(definition, answer, timeout=mark.timeout)


def _prompt(function: Callable[..., Any], mark: Mark, name: str, threads: Threads) -> Offered:
    parameters = _parameters(function)
    run = _runner(function, parameters, threads)
    definition = _named(function, mark, name)

    async def answer(call: Call) -> Mapping[str, object]:
        messages = prompt_messages(await run(call, parameters.read(call.arguments)))
        return {"description": definition.get("description", ""), "messages": messages}

    arguments = [
        {
            "name": alias,
            "required": field.is_required(),
            **({"description": field.description} if field.description else {}),
        }
        for alias, field in _by_alias(parameters)
    ]
    return Offered(definition | ({"arguments": arguments} if arguments else {}), answer)


def _resource(function: Callable[..., Any], mark: Mark, name: str, threads: Threads) -> tuple[Kind, Offered]:
    parameters = _parameters(function)
    run = _runner(function, parameters, threads)
    gaps = _GAP.findall(mark.uri)
    if sorted(gaps) != sorted(parameters.names.values()) or len(set(gaps)) < len(gaps):
        raise Unusable(f"{mark.uri} must have a {{gap}} for each parameter, and no other")
    pattern = re.compile("".join(_piece(part) for part in re.split(r"(\{\w+\})", mark.uri)))

    async def answer(call: Call) -> Mapping[str, object]:
        found = pattern.fullmatch(call.name)
        given = {gap: unquote(value) for gap, value in zip(gaps, found.groups() if found else (), strict=True)}
        value = await run(call, parameters.read(given))
        return {"contents": [resource_contents(call.name, value, mark.mime_type)]}

    definition = _named(function, mark, name) | {"uriTemplate" if gaps else "uri": mark.uri}
    if mark.mime_type:
        definition["mimeType"] = mark.mime_type
    if gaps:
        return Kind.TEMPLATES, Offered(definition, answer, fits=lambda uri: pattern.fullmatch(uri) is not None)
    return Kind.RESOURCES, Offered(definition, answer)


def _piece(part: str) -> str:
    return "([^/]+)" if _GAP.fullmatch(part) else re.escape(part)


def _named(function: Callable[..., Any], mark: Mark, name: str) -> dict[str, object]:
    """The members that every definition has."""
    doc = docstring_parser.parse(inspect.getdoc(function) or "")
    told = "\n\n".join(part.strip() for part in (doc.short_description, doc.long_description) if part)
    description = told if mark.description is None else mark.description
    return {
        "name": name,
        **({"title": mark.title} if mark.title else {}),
        **({"description": description} if description else {}),
    }


# --- parameters ---


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function, include_extras=True)


def _parameters(function: Callable[..., Any]) -> _Parameters:
    """Read a function's signature. Raises Unusable, or what pydantic raises for a type that has no schema."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise Unusable("a generator cannot be called; return a list")
    hints = _hints(function)
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
    return _Parameters(model, names, context)


def _metadata(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _by_alias(parameters: _Parameters) -> list[tuple[str, FieldInfo]]:
    return [(parameters.names[name], field) for name, field in parameters.model.model_fields.items()]


def _input_schema(parameters: _Parameters) -> dict[str, Any]:
    return untitled(parameters.model.model_json_schema(by_alias=True))


def _complaint(error: ValidationError) -> str:
    """What does not fit, in plain words: at most five of the misfits."""
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
    more = f"; … ({len(found)})" if len(found) > MOST_COMPLAINTS else ""
    return f"参数有误 / The arguments do not fit: {'; '.join(parts)}{more}"


# --- calls ---


def _runner(
    function: Callable[..., Any], parameters: _Parameters, threads: Threads
) -> Callable[[Call, dict[str, Any]], Any]:
    is_async = inspect.iscoroutinefunction(function)

    async def run(call: Call, arguments: dict[str, Any]) -> Any:
        if parameters.context is not None:
            arguments[parameters.context] = _context(call)
        try:
            if is_async:
                return await function(**arguments)
            return await threads.run(lambda: function(**arguments))
        except tools.ToolError as error:
            raise Refused(str(error)) from error

    return run


def _context(call: Call) -> Context:
    told = call.caller
    client = told.get("client")
    named: Mapping[str, Any] = client if isinstance(client, dict) else {}
    link = told.get("link")
    caller = Caller(
        agent=_text(told.get("agent")),
        link=link if isinstance(link, int) else 0,
        client_name=_text(named.get("name")),
        client_version=_text(named.get("version")),
        protocol_version=_text(told.get("protocolVersion")),
        device=_text(told.get("device")),
        mac=_text(told.get("mac")),
    )
    return Context(
        caller,
        time_left=lambda: call.time_left,
        cancelled=lambda: call.ended,
        progress=call.progress,
        log=call.log,
    )


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""
