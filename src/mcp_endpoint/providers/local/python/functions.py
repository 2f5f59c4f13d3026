"""Python functions as tools, prompts and resources: how each is listed, and how a call becomes a call of Python."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import docstring_parser
from pydantic.errors import PydanticUserError

from mcp_endpoint import tools
from mcp_endpoint.providers.local.python.parameters import Parameters, Unusable, hints_of, parameters_of
from mcp_endpoint.providers.local.python.results import output_of, prompt_messages, resource_contents
from mcp_endpoint.providers.local.threads import Threads
from mcp_endpoint.providers.local.tool_spec import Call, FeatureSpec, Refused
from mcp_endpoint.tools import Caller, Context, Mark
from mcp_endpoint.wire.mcp import Kind

_GAP = re.compile(r"\{(\w+)\}")


def feature_of(function: Callable[..., Any], mark: Mark, threads: Threads) -> tuple[Kind, FeatureSpec]:
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


def _tool(function: Callable[..., Any], mark: Mark, name: str, threads: Threads) -> FeatureSpec:
    parameters = parameters_of(function)
    output = output_of(hints_of(function).get("return"))
    run = _runner(function, parameters, threads)

    async def answer(call: Call) -> Mapping[str, object]:
        return output.result(await run(call, parameters.read(call.arguments, call.ignored)))

    definition = _named(function, mark, name) | {"inputSchema": parameters.schema()}
    if output.schema is not None:
        definition["outputSchema"] = output.schema
    if mark.hints:
        definition["annotations"] = dict(mark.hints)
    return FeatureSpec(definition, answer, timeout=mark.timeout)


def _prompt(function: Callable[..., Any], mark: Mark, name: str, threads: Threads) -> FeatureSpec:
    parameters = parameters_of(function)
    run = _runner(function, parameters, threads)
    definition = _named(function, mark, name)

    async def answer(call: Call) -> Mapping[str, object]:
        messages = prompt_messages(await run(call, parameters.read(call.arguments, call.ignored)))
        return {"description": definition.get("description", ""), "messages": messages}

    arguments = [
        {
            "name": alias,
            "required": field.is_required(),
            **({"description": field.description} if field.description else {}),
        }
        for alias, field in parameters.fields()
    ]
    return FeatureSpec(definition | ({"arguments": arguments} if arguments else {}), answer)


def _resource(function: Callable[..., Any], mark: Mark, name: str, threads: Threads) -> tuple[Kind, FeatureSpec]:
    parameters = parameters_of(function)
    run = _runner(function, parameters, threads)
    gaps = _GAP.findall(mark.uri)
    if sorted(gaps) != sorted(parameters.names.values()) or len(set(gaps)) < len(gaps):
        raise Unusable(f"{mark.uri} must have a {{gap}} for each parameter, and no other")
    pattern = re.compile("".join(_piece(part) for part in re.split(r"(\{\w+\})", mark.uri)))

    async def answer(call: Call) -> Mapping[str, object]:
        found = pattern.fullmatch(call.name)
        given = {gap: unquote(value) for gap, value in zip(gaps, found.groups() if found else (), strict=True)}
        value = await run(call, parameters.read(given, call.ignored))
        return {"contents": [resource_contents(call.name, value, mark.mime_type)]}

    definition = _named(function, mark, name) | {"uriTemplate" if gaps else "uri": mark.uri}
    if mark.mime_type:
        definition["mimeType"] = mark.mime_type
    if gaps:
        return Kind.TEMPLATES, FeatureSpec(definition, answer, fits=lambda uri: pattern.fullmatch(uri) is not None)
    return Kind.RESOURCES, FeatureSpec(definition, answer)


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


# --- calls ---


def _runner(
    function: Callable[..., Any], parameters: Parameters, threads: Threads
) -> Callable[[Call, dict[str, Any]], Any]:
    is_async = inspect.iscoroutinefunction(function)

    async def run(call: Call, arguments: dict[str, Any]) -> Any:
        if parameters.context is not None:
            arguments[parameters.context] = _context(call)
        try:
            if is_async:
                return await function(**arguments)
            value = await threads.run(lambda: function(**arguments))
            # Behind a decorator of somebody else's it may be an async function all the same.
            return await value if inspect.isawaitable(value) else value
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
