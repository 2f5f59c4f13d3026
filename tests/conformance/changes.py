"""The part whose lists change when a tool of it is called, and that has what goes by a URI."""

import json

import mcp_types as types

from content import embedded
from parts import Call, Part, user

changes = Part()

LATE = "test_that_comes_and_goes"


async def late_tool(call: Call) -> str:
    return "Here now."


async def late_prompt(call: Call) -> list[types.PromptMessage]:
    return user("Here now.")


@changes.tool("test_trigger_tool_change", "Adds a tool, or removes it again")
async def trigger_tool_change(call: Call) -> str:
    if changes.tools.pop(LATE, None) is None:
        changes.tool(LATE, "Comes and goes")(late_tool)
    return "The tools are others now."


@changes.tool("test_trigger_prompt_change", "Adds a prompt, or removes it again")
async def trigger_prompt_change(call: Call) -> str:
    if changes.prompts.pop(LATE, None) is None:
        changes.prompt(LATE, "Comes and goes")(late_prompt)
    return "The prompts are others now."


@changes.prompt("test_prompt_with_embedded_resource", "A prompt with a resource", resourceUri="The URI it is given")
async def prompt_with_embedded_resource(call: Call) -> list[types.PromptMessage]:
    resource = embedded(call.arguments["resourceUri"], "text/plain", "A resource inside of a prompt.")
    return user(resource, "Sum up this resource.")


def data_of(id_: str) -> str:
    return json.dumps({"id": id_, "data": f"What is known of {id_}"})


changes.templates.append(
    (
        types.ResourceTemplate(
            uri_template="test://template/{id}/data",
            name="data by id",
            description="What is known of an id",
            mime_type="application/json",
        ),
        data_of,
    )
)
changes.resource("test://changing-text", "changing text", "text/plain", "A text that may change.")
