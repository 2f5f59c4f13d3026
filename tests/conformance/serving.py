"""A server of the official SDK that serves parts, over stdio or Streamable HTTP, in both eras."""

import base64
from typing import Any

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate

from parts import Call, InputRequiredError, Part

Context = ServerRequestContext[Any]

COMPLETIONS = ["test", "testing", "tested"]
HINTS: dict[Any, CacheHint] = {
    method: CacheHint(ttl_ms=1000, scope="private")
    for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read")
}


class Everything(Server[dict[str, Any]]):
    """All that some parts have, under one name."""

    def __init__(self, name: str, parts: list[Part]) -> None:
        self.parts = parts
        self.bus = InMemorySubscriptionBus()
        super().__init__(
            name,
            version="1.0",
            cache_hints=HINTS,
            get_tool_input_schema=lambda name: self.found_tool(name)[0].input_schema,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_prompts=self.list_prompts,
            on_get_prompt=self.get_prompt,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
            on_subscribe_resource=self.accept,
            on_unsubscribe_resource=self.accept,
            on_subscriptions_listen=ListenHandler(self.bus),
            on_completion=self.complete,
        )
        self.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self.accept)
        self.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=name))

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *more: Any, **named: Any
    ) -> InitializationOptions:
        """As the SDK makes them, and with the changes of lists that the parts announce."""
        changes = NotificationOptions(prompts_changed=True, tools_changed=True)
        return super().create_initialization_options(notification_options or changes, *more, **named)

    def found_tool(self, name: str) -> Any:
        for part in self.parts:
            if name in part.tools:
                return part.tools[name]
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {name}")

    async def list_tools(self, context: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool for part in self.parts for tool, _ in part.tools.values()])

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        _, run = self.found_tool(params.name)
        before = self.names()
        try:
            result = await run(Call(context, params.arguments or {}, params.input_responses, params.request_state))
        except InputRequiredError as required:
            return required.result
        except ValueError as error:
            return types.CallToolResult(content=[types.TextContent(text=str(error))], is_error=True)
        await self.announce(context, before)
        return types.CallToolResult(content=[types.TextContent(text=result)] if isinstance(result, str) else result)

    def names(self) -> tuple[set[str], set[str]]:
        """Those of the tools and of the prompts."""
        return {name for part in self.parts for name in part.tools}, {n for part in self.parts for n in part.prompts}

    async def announce(self, context: Context, before: tuple[set[str], set[str]]) -> None:
        """Say which lists a call changed, in the words of both eras; the SDK drops those of the other one."""
        tools, prompts = (old != new for old, new in zip(before, self.names(), strict=True))
        if tools:
            await self.bus.publish(ToolsListChanged())
            await context.session.send_notification(types.ToolListChangedNotification())
        if prompts:
            await self.bus.publish(PromptsListChanged())
            await context.session.send_notification(types.PromptListChangedNotification())

    async def list_prompts(self, context: Context, params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[prompt for part in self.parts for prompt, _ in part.prompts.values()])

    async def get_prompt(
        self, context: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        for part in self.parts:
            if params.name in part.prompts:
                _, get = part.prompts[params.name]
                call = Call(context, params.arguments or {}, params.input_responses, params.request_state)
                try:
                    return types.GetPromptResult(messages=await get(call))
                except InputRequiredError as required:
                    return required.result
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")

    async def list_resources(self, context: Context, params: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[shown for part in self.parts for shown, _ in part.resources])

    async def list_templates(self, context: Context, params: Any) -> types.ListResourceTemplatesResult:
        templates = [shown for part in self.parts for shown, _ in part.templates]
        return types.ListResourceTemplatesResult(resource_templates=templates)

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        for part in self.parts:
            for shown, content in part.resources:
                if shown.uri == uri:
                    return types.ReadResourceResult(contents=[contents(uri, shown.mime_type, content)])
            for template, read in part.templates:
                if found := UriTemplate.parse(template.uri_template).match(uri):
                    text = read(*(str(value) for value in found.values()))
                    return types.ReadResourceResult(contents=[contents(uri, template.mime_type, text)])
        raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})

    async def accept(self, context: Context, params: Any) -> types.EmptyResult:
        """Subscriptions and log levels: no resource changes by itself, and the tools log at one level only."""
        return types.EmptyResult()

    async def complete(self, context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        values = [value for value in COMPLETIONS if value.startswith(params.argument.value)]
        return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


def contents(
    uri: str, mime_type: str | None, content: str | bytes
) -> types.TextResourceContents | types.BlobResourceContents:
    """What is read at a URI, as MCP spells text and bytes."""
    if isinstance(content, str):
        return types.TextResourceContents(uri=uri, mime_type=mime_type, text=content)
    return types.BlobResourceContents(uri=uri, mime_type=mime_type, blob=base64.b64encode(content).decode())
