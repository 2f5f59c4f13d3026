"""What a part of the everything-server is made of, and how a tool of it asks its client something, in either era."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

Answer = dict[str, Any]
Blocks = list[types.ContentBlock]

NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
ANSWERS: dict[str, type[types.CreateMessageResult | types.ListRootsResult | types.ElicitResult]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}


class InputRequiredError(Exception):
    """Ends a call that cannot go on before its client has answered; the stateless era's way of asking."""

    def __init__(self, requests: types.InputRequests, state: str) -> None:
        super().__init__()
        self.result = types.InputRequiredResult(input_requests=requests, request_state=state)


@dataclass(frozen=True)
class Call:
    """One call of a tool, or one get of a prompt."""

    context: ServerRequestContext[Any]
    arguments: Mapping[str, Any]
    answers: types.InputResponses | None = None
    state: str | None = None

    @property
    def stateless(self) -> bool:
        return self.context.protocol_version in MODERN_PROTOCOL_VERSIONS

    def client_can(self, method: str) -> bool:
        """Whether the client declared what it takes to serve this request."""
        capabilities = self.context.session.client_capabilities or types.ClientCapabilities()
        return getattr(capabilities, capability_for(method)) is not None

    async def ask(self, **requests: types.InputRequest) -> dict[str, Answer]:
        """The client's answers by name.

        In the stateless era the call ends here until they are known, and is made again with them: what was answered in
        earlier rounds is the request's state. In the handshake era they are requests to the client.
        """
        lacking = {request.method for request in requests.values() if not self.client_can(request.method)}
        if lacking:
            required = types.ClientCapabilities.model_validate({capability_for(method): {} for method in lacking})
            raise MCPError(
                types.MISSING_REQUIRED_CLIENT_CAPABILITY,
                "The client did not declare what this call needs",
                types.MissingRequiredClientCapabilityErrorData(required_capabilities=required).model_dump(
                    mode="json", by_alias=True, exclude_none=True
                ),
            )
        if not self.stateless:
            return {name: await self._answer_to(request) for name, request in requests.items()}
        known: dict[str, Answer] = json.loads(self.state or "{}")
        for name, answer in (self.answers or {}).items():
            known[name] = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        missing = {name: request for name, request in requests.items() if not fits(request, known.get(name))}
        if missing:
            raise InputRequiredError(missing, json.dumps(known))
        return known

    async def _answer_to(self, request: types.InputRequest) -> Answer:
        answer = await self.context.session.send_request(
            request,
            ANSWERS[request.method],
            metadata=ServerMessageMetadata(related_request_id=self.context.request_id),
        )
        return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


Run = Callable[[Call], Awaitable[str | Blocks]]
Get = Callable[[Call], Awaitable[list[types.PromptMessage]]]


@dataclass(frozen=True)
class Part:
    """Tools, prompts and resources that one server may serve alone or together with those of other parts."""

    tools: dict[str, tuple[types.Tool, Run]] = field(default_factory=dict)
    prompts: dict[str, tuple[types.Prompt, Get]] = field(default_factory=dict)
    resources: list[tuple[types.Resource, str | bytes]] = field(default_factory=list)
    templates: list[tuple[types.ResourceTemplate, Callable[[str], str]]] = field(default_factory=list)

    def tool(self, name: str, description: str, schema: dict[str, Any] | None = None) -> Callable[[Run], Run]:
        """Register a function as the tool of this name."""

        def register(run: Run) -> Run:
            shown = types.Tool(name=name, description=description, input_schema=schema or NO_ARGUMENTS)
            self.tools[name] = (shown, run)
            return run

        return register

    def prompt(self, name: str, description: str, **arguments: str) -> Callable[[Get], Get]:
        """Register a function as the prompt of this name; `arguments` describes those it requires."""

        def register(get: Get) -> Get:
            wanted = [
                types.PromptArgument(name=argument, description=meaning, required=True)
                for argument, meaning in arguments.items()
            ]
            self.prompts[name] = (types.Prompt(name=name, description=description, arguments=wanted or None), get)
            return get

        return register

    def resource(self, uri: str, name: str, mime_type: str, content: str | bytes) -> None:
        """Register content that can be read, text or bytes."""
        shown = types.Resource(uri=uri, name=name, description=f"The {name}", mime_type=mime_type)
        self.resources.append((shown, content))


def capability_for(method: str) -> str:
    """What a client declares that serves this request: the first word of the method."""
    return method.partition("/")[0]


def fits(request: types.InputRequest, answer: Answer | None) -> bool:
    """Whether an answer has the member without which it is none to this request."""
    member = {"elicitation/create": "action", "sampling/createMessage": "content", "roots/list": "roots"}
    return answer is not None and member[request.method] in answer


def form(message: str, schema: dict[str, Any]) -> types.ElicitRequest:
    """A request that the user fills in a form."""
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def fields(**kinds: str) -> dict[str, Any]:
    """The schema of a form with these required fields."""
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in kinds.items()},
        "required": [*kinds],
    }


def sample(prompt: str, max_tokens: int = 100) -> types.CreateMessageRequest:
    """A request that the client's model answers a prompt."""
    message = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def user(*blocks: types.ContentBlock | str) -> list[types.PromptMessage]:
    """Messages of the user, one for each block."""
    contents = [types.TextContent(text=block) if isinstance(block, str) else block for block in blocks]
    return [types.PromptMessage(role="user", content=content) for content in contents]
