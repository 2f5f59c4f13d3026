"""The part that talks with its client: logging, progress, sampling, elicitation, input that is required."""

import json
from typing import Any

import anyio
import mcp_types as types

from parts import Call, Part, fields, form, sample, user

dialogue = Part()

PAUSE = 0.05
"""Seconds between two notifications of a call, so that they cannot pass for one."""
LONG = 4.0
"""Seconds of a call that takes so long that whoever serves it over HTTP may have its client poll (see setups.py)."""


async def log(call: Call, *lines: str) -> None:
    for line in lines:
        await call.context.session.send_log_message("info", line, related_request_id=call.context.request_id)
        await anyio.sleep(PAUSE)


@dialogue.tool("test_tool_with_logging", "Logs three lines while it works")
async def tool_with_logging(call: Call) -> str:
    await log(call, "It begins", "It goes on", "It is done")
    return "Logged three lines."


@dialogue.tool("test_logging_tool", "Logs a line, to whoever asked for it")
async def logging_tool(call: Call) -> str:
    await log(call, "A line")
    return "Logged a line."


@dialogue.tool("test_tool_with_progress", "Reports its progress")
async def tool_with_progress(call: Call) -> str:
    for done in (0, 50, 100):
        await call.context.session.report_progress(done, 100)
        await anyio.sleep(PAUSE)
    return "Reported 0, 50 and 100 of 100."


@dialogue.tool("test_reconnection", "Closes the stream of its answer if it has one, and answers all the same")
async def reconnection(call: Call) -> str:
    if call.context.close_sse_stream is None:
        await anyio.sleep(LONG)
    else:
        await call.context.close_sse_stream()
        await anyio.sleep(PAUSE)
    return "Answered late."


def text_of(answer: dict[str, Any]) -> str:
    """What the client's model said."""
    return str(answer["content"]["text"])


def decision(answer: dict[str, Any]) -> str:
    """What the user did with a form, and what they filled in."""
    return f"action={answer['action']}, content={json.dumps(answer.get('content'))}"


@dialogue.tool("test_sampling", "Asks the client's model", fields(prompt="string"))
async def sampling(call: Call) -> str:
    answers = await call.ask(reply=sample(call.arguments["prompt"]))
    return f"The model said: {text_of(answers['reply'])}"


@dialogue.tool("test_elicitation", "Asks the user", fields(message="string"))
async def elicitation(call: Call) -> str:
    answers = await call.ask(user=form(call.arguments["message"], fields(username="string", email="string")))
    return f"The user decided: {decision(answers['user'])}"


DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}


@dialogue.tool("test_elicitation_sep1034_defaults", "Asks the user, with a default for every field")
async def elicitation_defaults(call: Call) -> str:
    answers = await call.ask(user=form("Who are you?", {"type": "object", "properties": DEFAULTS}))
    return f"The user decided: {decision(answers['user'])}"


PLAIN = ["option1", "option2", "option3"]
TITLED = [{"const": f"value{number}", "title": f"Value {number}"} for number in (1, 2, 3)]
CHOICES = {
    "untitledSingle": {"type": "string", "enum": PLAIN},
    "titledSingle": {"type": "string", "oneOf": TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": PLAIN}},
    "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
}


@dialogue.tool("test_elicitation_sep1330_enums", "Asks the user, with choices of every kind")
async def elicitation_choices(call: Call) -> str:
    answers = await call.ask(user=form("What do you choose?", {"type": "object", "properties": CHOICES}))
    return f"The user decided: {decision(answers['user'])}"


@dialogue.tool("test_streaming_elicitation", "Reports progress, then asks the user")
async def streaming_elicitation(call: Call) -> str:
    await call.context.session.report_progress(1, 2)
    answers = await call.ask(user=form("Go on?", fields(sure="boolean")))
    return f"The user decided: {decision(answers['user'])}"


@dialogue.tool("test_missing_capability", "Needs a client that offers its model")
async def missing_capability(call: Call) -> str:
    answers = await call.ask(reply=sample("Are you there?"))
    return text_of(answers["reply"])


NAME = form("What is your name?", fields(name="string"))
CONFIRM = form("Do you agree?", fields(ok="boolean"))
ROOTS = types.ListRootsRequest()


@dialogue.tool("test_input_required_result_elicitation", "Greets the user, whose name it asks")
async def ask_for_a_name(call: Call) -> str:
    answers = await call.ask(user_name=NAME)
    return f"Hello, {(answers['user_name'].get('content') or {}).get('name', 'whoever you are')}!"


@dialogue.tool("test_input_required_result_sampling", "Asks the client's model for a capital")
async def ask_the_model(call: Call) -> str:
    answers = await call.ask(capital_question=sample("What is the capital of France?"))
    return text_of(answers["capital_question"])


@dialogue.tool("test_input_required_result_list_roots", "Counts the client's roots")
async def ask_for_roots(call: Call) -> str:
    answers = await call.ask(client_roots=ROOTS)
    return f"Roots: {', '.join(root['uri'] for root in answers['client_roots']['roots'])}"


@dialogue.tool("test_input_required_result_request_state", "Asks, and wants its state back with the answer")
async def ask_with_state(call: Call) -> str:
    await call.ask(confirm=CONFIRM)
    return "state-ok" if call.state is not None or not call.stateless else "The state is missing."


@dialogue.tool("test_input_required_result_tampered_state", "Asks, and refuses a state that is not the one it gave")
async def ask_with_sealed_state(call: Call) -> str:
    await call.ask(confirm=CONFIRM)
    return "The state is as it was."


@dialogue.tool("test_input_required_result_multiple_inputs", "Asks the user, the model and the client at once")
async def ask_three_at_once(call: Call) -> str:
    answers = await call.ask(user_name=NAME, greeting=sample("Write a greeting", 50), client_roots=ROOTS)
    return f"{text_of(answers['greeting'])} You have {len(answers['client_roots']['roots'])} roots."


@dialogue.tool("test_input_required_result_multi_round", "Asks the user twice, one thing after the other")
async def ask_twice(call: Call) -> str:
    await call.ask(step1=form("First: what is your name?", fields(name="string")))
    answers = await call.ask(step2=form("Then: what is your favourite colour?", fields(color="string")))
    return f"The user decided: {decision(answers['step2'])}"


@dialogue.tool("test_input_required_result_capabilities", "Asks only what the client can answer")
async def ask_what_can_be_answered(call: Call) -> str:
    requests: types.InputRequests = {"user_name": NAME, "greeting": sample("Write a greeting", 50)}
    can = {name: request for name, request in requests.items() if call.client_can(request.method)}
    answers = await call.ask(**(can or requests))
    return f"Answered: {', '.join(sorted(answers))}"


@dialogue.prompt("test_input_required_result_prompt", "A prompt that asks the user for its context")
async def prompt_that_asks(call: Call) -> list[types.PromptMessage]:
    answers = await call.ask(user_context=form("In which context?", fields(context="string")))
    return user(f"Answer in this context: {decision(answers['user_context'])}")


@dialogue.prompt("test_prompt_with_arguments", "A prompt with two arguments", arg1="The first", arg2="The second")
async def prompt_with_arguments(call: Call) -> list[types.PromptMessage]:
    return user(f"The first is {call.arguments['arg1']!r}, the second {call.arguments['arg2']!r}.")


dialogue.resource("test://watched-resource", "watched text", "text/plain", "A text that may be watched.")
