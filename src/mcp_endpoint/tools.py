"""What a user's file of tools imports: decorators that mark functions, and the `Context` of one call.

    from mcp_endpoint.tools import tool

    @tool
    def add(a: int, b: int) -> int:
        '''Add two numbers.'''
        return a + b

A decorator only hangs a `Mark` on its function, which stays an ordinary function. Whoever loads the file finds the
marks in its namespace; there is no list of them anywhere else. Parameters become the input schema by their type hints,
and descriptions come from the docstring. `def` functions run in a thread, `async def` functions in the broker's event
loop, where they must never block.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeVar, overload

Function = TypeVar("Function", bound=Callable[..., Any])
Level = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]

ATTRIBUTE = "__mcp_endpoint__"
"""Where a decorated function has its `Mark`."""
NAME = re.compile(r"[A-Za-z0-9_\-.\u4e00-\u9fff]{1,64}")
"""What a tool or a prompt may be called."""


class ToolError(Exception):
    """Raised by a tool to end its call as an error; the message is a sentence that the caller reads."""


class Kind(Enum):
    """What a decorated function is."""

    TOOL = "tool"
    PROMPT = "prompt"
    RESOURCE = "resource"


@dataclass(frozen=True)
class Mark:
    """What a decorator says of its function; None where it says nothing."""

    kind: Kind
    name: str | None = None
    title: str | None = None
    description: str | None = None
    uri: str = ""
    """Of a resource: its URI, or a template with a `{parameter}` for each of the function's."""
    mime_type: str | None = None
    hints: Mapping[str, bool] = field(default_factory=dict)
    """Of a tool: MCP's annotations."""
    timeout: float | None = None
    """Seconds a call may take; None: as the provider's settings say."""
    background: bool = False
    """Whether a call may go on as a job after its caller has been answered."""


@dataclass(frozen=True)
class Image:
    """A picture as a tool's result."""

    data: bytes = field(repr=False)
    mime_type: str = "image/png"


@dataclass(frozen=True)
class Caller:
    """Who calls, as the broker knows it; texts are empty where it does not."""

    agent: str = ""
    """Id of the agent."""
    link: int = 0
    """Number of the caller's connection, as in the broker's log."""
    client_name: str = ""
    client_version: str = ""
    protocol_version: str = ""
    device: str = ""
    """Id of the device, where the caller is one."""
    mac: str = ""


class Context:
    """What a tool can know of its call, and say while it runs. Every method may be called from any thread.

    A parameter with this annotation gets it, and is no part of the tool's input. In a test make one by hand:
    `Context()` says nothing to anybody.
    """

    def __init__(
        self,
        caller: Caller | None = None,
        *,
        time_left: Callable[[], float] = lambda: float("inf"),
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[float, float | None, str], None] = lambda _done, _total, _message: None,
        log: Callable[[str, str], None] = lambda _level, _text: None,
    ) -> None:
        self.caller = caller or Caller()
        self._time_left = time_left
        self._cancelled = cancelled
        self._progress = progress
        self._log = log

    @property
    def agent(self) -> str:
        """Id of the agent that calls; empty if that is not known."""
        return self.caller.agent

    @property
    def time_left(self) -> float:
        """Seconds until the call is ended and answered with an error; never below 0."""
        return max(self._time_left(), 0.0)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more. A thread cannot be ended: a long loop should look here."""
        return self._cancelled()

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Tell a caller that asked for it how far the call is; what follows within 50 ms may be left out."""
        self._progress(done, total, message)

    def log(self, level: Level, text: str) -> None:
        """Send a log message to the caller, if it wants that level."""
        self._log(level, text)


@overload
def tool(function: Function, /) -> Function: ...
@overload
def tool(
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    read_only: bool | None = None,
    destructive: bool | None = None,
    idempotent: bool | None = None,
    open_world: bool | None = None,
    timeout: float | None = None,
    background: bool = False,
) -> Callable[[Function], Function]: ...
def tool(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    read_only: bool | None = None,
    destructive: bool | None = None,
    idempotent: bool | None = None,
    open_world: bool | None = None,
    timeout: float | None = None,
    background: bool = False,
) -> Function | Callable[[Function], Function]:
    """Make a function a tool, with or without arguments: `@tool` or `@tool(read_only=True)`.

    `name` and `description` replace the function's own name and its docstring; `read_only` … `open_world` are MCP's
    hints to the caller. `timeout` is in seconds. `background`: a call may go on as a job when it takes long. Raises
    ValueError for a name that cannot be called.
    """
    hints = {
        "readOnlyHint": read_only,
        "destructiveHint": destructive,
        "idempotentHint": idempotent,
        "openWorldHint": open_world,
    }
    if timeout is not None and timeout <= 0:
        raise ValueError("timeout must be more than 0 seconds")
    mark = Mark(
        Kind.TOOL,
        _checked(name),
        title,
        description,
        hints={hint: said for hint, said in hints.items() if said is not None},
        timeout=timeout,
        background=background,
    )
    return _marker(mark) if function is None else _marker(mark)(function)


@overload
def prompt(function: Function, /) -> Function: ...
@overload
def prompt(
    *, name: str | None = None, title: str | None = None, description: str | None = None
) -> Callable[[Function], Function]: ...
def prompt(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
) -> Function | Callable[[Function], Function]:
    """Make a function a prompt: it returns the text of one user message, or a list of ("user" or "assistant", text).

    Raises ValueError for a name that cannot be asked for.
    """
    mark = Mark(Kind.PROMPT, _checked(name), title, description)
    return _marker(mark) if function is None else _marker(mark)(function)


def resource(
    uri: str,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    mime_type: str | None = None,
) -> Callable[[Function], Function]:
    """Make a function a resource: it returns text, bytes, or anything that can be JSON.

    `uri` such as `notes://all`, or a template such as `notes://by-name/{name}`, whose names are the function's
    parameters; a parameter stands for text without `/`. Raises ValueError for what is no URI.
    """
    if not re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:.", uri) or len(uri) > 1000:
        raise ValueError(f"{uri[:100]!r} is no URI such as notes://all")
    return _marker(Mark(Kind.RESOURCE, name, title, description, uri=uri, mime_type=mime_type))


def _marker(mark: Mark) -> Callable[[Function], Function]:
    def put(function: Function) -> Function:
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"@{mark.kind.value} is for functions")
        setattr(function, ATTRIBUTE, mark)
        return function

    return put


def _checked(name: str | None) -> str | None:
    if name is not None and not NAME.fullmatch(name):
        raise ValueError(f"{name[:100]!r}: a name has 1 to 64 letters, digits, _ - or .")
    return name
