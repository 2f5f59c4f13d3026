"""Decorated functions in a file: their schemas, what calls get, errors in plain words, and loading the file again."""

import asyncio
import base64
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mcp_endpoint import tools
from mcp_endpoint.providers.local.python.source import PythonFile, PythonSettings
from mcp_endpoint.providers.local.tool_spec import Limits
from mcp_endpoint.providers.source import Stopped, StopReason
from support.documents import blocks, of_docs, page_text
from support.paths import SRC
from support.servers.source_client import Asker, asking, text_of
from support.sockets import PATIENCE

HEAD = "from mcp_endpoint.tools import Context, Image, ToolError, prompt, resource, tool\n"
Serve = Callable[..., AbstractAsyncContextManager[Asker]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Serves a file of these lines."""

    @asynccontextmanager
    async def serving(code: str, **settings: Any) -> AsyncIterator[Asker]:
        file = tmp_path / "mine.py"
        file.write_text(HEAD + textwrap.dedent(code), "utf-8")
        async with asking(PythonFile(PythonSettings(str(file), **settings))) as asker:
            yield asker

    return serving


async def loading(code: str, tmp_path: Path, **settings: Any) -> Stopped:
    """Why a file cannot be served."""
    file = tmp_path / "mine.py"
    file.write_text(textwrap.dedent(code), "utf-8")
    source = PythonFile(PythonSettings(str(file), **settings))
    with pytest.raises(Stopped) as stopped:
        await source.open(lambda _frame: None, lambda _why: None)
    await source.close()
    assert stopped.value.why is StopReason.BAD_MODULE
    return stopped.value


async def test_schemas_come_from_type_hints_and_docstrings(serve: Serve) -> None:
    code = """
    from dataclasses import dataclass
    from typing import Annotated, Literal, Optional
    from pydantic import BaseModel, Field

    class Place(BaseModel):
        city: str
        inside: "Place | None" = None

    @dataclass
    class Sum:
        total: int
        title: str

    @tool(title="Add", read_only=True, background=True)
    def add(a: int, b: Annotated[int, Field(ge=0, description="own words")] = 2, *, copy: Literal["x", "y"] = "x",
            ctx: Optional[Context] = None) -> Sum:
        '''Add two numbers.

        With a title.

        Args:
            a: the first
            b: not used
            copy: a name that models have
        '''
        return Sum(a + b, copy)

    @tool
    def go(place: Place, ctx: Context) -> list[Place]:
        ":param place: where to"
        return [place, place.inside]

    @tool(name="其他", description="given")
    def anything(x, y=None): return {"x": x, "y": y}
    """
    async with serve(code) as asker:
        listed = await asker.listed("tools/list")
        for one in listed.values():
            Draft202012Validator.check_schema(one["inputSchema"])
            assert "title" not in one["inputSchema"]
        assert listed["add"] == {
            "name": "add",
            "title": "Add",
            "description": "Add two numbers.\n\nWith a title.",
            "inputSchema": {
                "type": "object",
                "additionalProperties": False,
                "required": ["a"],
                "properties": {
                    "a": {"type": "integer", "description": "the first"},
                    "b": {"type": "integer", "minimum": 0, "default": 2, "description": "own words"},
                    "copy": {
                        "enum": ["x", "y"],
                        "type": "string",
                        "default": "x",
                        "description": "a name that models have",
                    },
                },
            },
            "outputSchema": {
                "type": "object",
                "properties": {"total": {"type": "integer"}, "title": {"type": "string"}},
                "required": ["total", "title"],
            },
            "annotations": {"readOnlyHint": True},
        }
        assert listed["go"]["inputSchema"]["properties"] == {
            "place": {"$ref": "#/$defs/Place", "description": "where to"}
        }
        assert listed["其他"]["description"] == "given"
        assert set(listed["其他"]["inputSchema"]["properties"]) == {"x", "y"}
        result = await asker.call("add", {"a": "1", "copy": "y"})
        assert result == {
            "content": [{"type": "text", "text": '{"total": 3, "title": "y"}'}],
            "structuredContent": {"total": 3, "title": "y"},
        }
        inner = {"city": "b", "inside": None}
        result = await asker.call("go", {"place": {"city": "a", "inside": {"city": "b"}}})
        assert result["structuredContent"] == {"result": [{"city": "a", "inside": inner}, inner]}
        Draft202012Validator(listed["go"]["outputSchema"]).validate(result["structuredContent"])
        assert await asker.text("其他", {"x": [1]}) == '{"x": [1], "y": null}'


async def test_wrong_arguments_are_told_in_plain_words(serve: Serve) -> None:
    code = """
    @tool
    def add(a: int, b: int) -> int: return a + b
    """
    async with serve(code) as asker:
        told = await asker.error("add", {"a": "x" * 100, "c": 1})
        assert "b is missing" in told
        assert "c is no parameter" in told
        assert "a = 'xxx" in told
        assert "valid integer" in told
        assert len(told) < 400
        assert await asker.text("add", {"a": 1, "b": "2"}) == "3"


async def test_results_of_every_kind(serve: Serve) -> None:
    code = """
    from datetime import date
    @tool
    def text(): return "文"
    @tool
    async def nothing() -> None: pass
    @tool
    def number() -> float: return 2.5
    @tool
    def day() -> date: return date(2026, 1, 2)
    @tool
    def picture() -> Image: return Image(b"123")
    @tool
    def pictures() -> list[Image | str]: return ["two", Image(b"4", "image/jpeg")]
    @tool
    def table() -> dict[str, int]: return {"a": 1}
    @tool
    def odd(): return {1, 2}.__iter__
    @tool
    def lies() -> int: return "no number"
    """
    picture = base64.b64encode(b"123").decode()
    async with serve(code) as asker:
        listed = await asker.listed("tools/list")
        assert "outputSchema" not in listed["text"] | listed["picture"] | listed["pictures"] | listed["odd"]
        assert await asker.text("text") == "文"
        assert await asker.text("nothing") == ""
        assert (await asker.call("number"))["structuredContent"] == {"result": 2.5}
        assert (await asker.call("day"))["structuredContent"] == {"result": "2026-01-02"}
        assert (await asker.call("picture"))["content"] == [{"type": "image", "data": picture, "mimeType": "image/png"}]
        assert [one["type"] for one in (await asker.call("pictures"))["content"]] == ["text", "image"]
        assert (await asker.call("table"))["structuredContent"] == {"a": 1}
        assert "method-wrapper" in await asker.text("odd")
        assert "something else than it declares" in await asker.error("lies")


async def test_errors_of_functions(serve: Serve) -> None:
    code = """
    import sys
    @tool
    def expected(): raise ToolError("今天不行")
    @tool
    async def unexpected(): return 1 / 0
    @tool
    def leaves(): sys.exit(4)
    @tool
    def stops(): return next(iter([]))
    """
    async with serve(code) as asker:
        assert await asker.error("expected") == "今天不行"
        assert "ZeroDivisionError: division by zero" in await asker.error("unexpected")
        assert "exit (4)" in await asker.error("leaves")
        assert await asker.error("stops")
        assert await asker.ask("ping") == {}


async def test_a_decorator_of_somebody_elses_may_hide_that_a_function_is_async(serve: Serve) -> None:
    code = """
    import functools
    def twice(function):
        @functools.wraps(function)
        def inner(*args, **kwargs): return function(*args, **kwargs)
        return inner
    @tool
    @twice
    async def five(a: int) -> int: return a + 4
    """
    async with serve(code) as asker:
        assert await asker.text("five", {"a": 1}) == "5"


async def test_the_context_tells_and_is_told(serve: Serve) -> None:
    code = """
    @tool(timeout=5)
    def work(ctx: Context) -> dict:
        ctx.progress(1, 2, "half")
        ctx.log("warning", "careful")
        return {"agent": ctx.agent, "device": ctx.caller.device, "client": ctx.caller.client_name,
                "in_time": 0 < ctx.time_left <= 5, "cancelled": ctx.cancelled}
    """
    caller = {"agent": "a1", "link": 7, "client": {"name": "c", "version": "1"}, "device": "d", "mac": None}
    async with serve(code) as asker:
        meta = {"progressToken": 9, "mcp-endpoint/caller": caller}
        result = await asker.call("work", _meta=meta)
        assert result["structuredContent"] == {
            "agent": "a1", "device": "d", "client": "c", "in_time": True, "cancelled": False
        }  # fmt: skip
        assert [frame["method"] for frame in asker.kept] == ["notifications/progress", "notifications/message"]
        assert asker.kept[0]["params"] == {"progressToken": 9, "progress": 1, "total": 2, "message": "half"}
        broken = await asker.call("work", _meta={"mcp-endpoint/caller": {"agent": 5, "client": "x", "link": "y"}})
        assert broken["structuredContent"]["agent"] == ""


async def test_threads_are_bounded_and_told_of_a_cancellation(serve: Serve) -> None:
    code = """
    import threading
    begun, go, saw = threading.Semaphore(0), threading.Event(), threading.Event()
    @tool
    def hold(ctx: Context) -> str:
        begun.release()
        while not go.wait(0.01):
            if ctx.cancelled:
                saw.set()
        return "done"
    @tool
    async def look() -> list[bool]: return [saw.is_set(), begun.acquire(blocking=False)]
    @tool
    async def release(): go.set()
    @tool
    async def wait():
        import asyncio
        await asyncio.to_thread(begun.acquire, timeout=60)
    """
    async with serve(code, threads=1) as asker:
        first = asker.begin("tools/call", {"name": "hold"})
        await asker.call("wait")
        second = asker.begin("tools/call", {"name": "hold"})
        assert (await asker.call("look"))["structuredContent"] == {"result": [False, False]}
        asker.tell(method="notifications/cancelled", params={"requestId": first})
        async with asyncio.timeout(PATIENCE):
            while not (await asker.call("look"))["structuredContent"]["result"][0]:
                pass
        await asker.call("release")
        assert text_of((await asker.answer(second))["result"]) == "done"
        assert not [frame for frame in asker.kept if frame.get("id") == first]


async def test_a_function_that_never_returns_is_answered_for_and_holds_nothing_up(serve: Serve) -> None:
    code = """
    import threading
    @tool
    def stuck(): threading.Event().wait()
    """
    async with serve(code, limits=Limits(timeout=0.05)) as asker:
        assert "did not finish" in await asker.error("stuck")
    hanging = [thread for thread in threading.enumerate() if thread.name == "tool of mine"]
    assert hanging
    assert all(thread.daemon for thread in hanging)


async def test_prompts_and_resources(serve: Serve) -> None:
    code = """
    @prompt
    def hello(name: str, times: int = 1):
        '''Say hello.

        Args:
            name: whom to
        '''
        return [("user", f"hello {name} {times + 1}"), ("assistant", "ok")]
    @prompt
    def odd(): return 5
    @resource("notes://all", mime_type="text/markdown")
    def notes(): return "# all"
    @resource("notes://{book}/{page}")
    async def page(book: str, page: int): return {"book": book, "page": page}
    @resource("pic://one")
    def pic() -> bytes: return b"1"
    """
    async with serve(code) as asker:
        assert (await asker.listed("prompts/list"))["hello"] == {
            "name": "hello",
            "description": "Say hello.",
            "arguments": [
                {"name": "name", "required": True, "description": "whom to"},
                {"name": "times", "required": False},
            ],
        }
        got = await asker.ask("prompts/get", {"name": "hello", "arguments": {"name": "Bo", "times": "2"}})
        assert got["messages"][0] == {"role": "user", "content": {"type": "text", "text": "hello Bo 3"}}
        assert got["messages"][1]["role"] == "assistant"
        assert (await asker.refused("prompts/get", {"name": "hello"}))[0] == -32602
        assert (await asker.refused("prompts/get", {"name": "odd"}))[0] == -32603
        assert list(await asker.listed("resources/list")) == ["notes://all", "pic://one"]
        assert list(await asker.listed("resources/templates/list")) == ["notes://{book}/{page}"]
        (read,) = (await asker.ask("resources/read", {"uri": "notes://all"}))["contents"]
        assert read == {"uri": "notes://all", "mimeType": "text/markdown", "text": "# all"}
        (read,) = (await asker.ask("resources/read", {"uri": "notes://b%2Fc/7"}))["contents"]
        assert json.loads(read["text"]) == {"book": "b/c", "page": 7}
        assert read["mimeType"] == "application/json"
        (read,) = (await asker.ask("resources/read", {"uri": "pic://one"}))["contents"]
        assert read["blob"] == "MQ=="
        assert (await asker.refused("resources/read", {"uri": "notes://b/x"}))[0] == -32602
        assert (await asker.refused("resources/read", {"uri": "notes://b/1/2"}))[0] == -32602


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("a = 1\nb = =\n", ["mine.py, line 2: SyntaxError"]),
        ("a = 1\n\nmissing()\n", ["mine.py, line 3: NameError", "missing"]),
        ("import sys\nsys.exit('bye')\n", ["line 2: SystemExit: bye"]),
        ("a = 1\n", ["no function is marked"]),
        (HEAD + "@tool\ndef f(*many): ...\n", ["line 2", "@tool f", "many"]),
        (HEAD + "@tool\ndef f(a: Nowhere): ...\n", ["line 3", "Nowhere"]),
        (HEAD + "@tool\ndef f(): yield 1\n", ["generator"]),
        (HEAD + "@tool(name='a b')\ndef f(): ...\n", ["line 2", "a b"]),
        (HEAD + "@tool\ndef f(): ...\ng = tool(name='f')(lambda: 1)\n", ["two tools are called f"]),
        (HEAD + "@resource('a:{x}')\ndef f(y): ...\n", ["gap"]),
        (HEAD + "@resource('no uri')\ndef f(): ...\n", ["line 2", "no URI"]),
        (HEAD + "@tool\nclass A: ...\n", ["line 2", "for functions"]),
    ],
)
async def test_a_file_that_cannot_be_loaded_says_where(code: str, words: list[str], tmp_path: Path) -> None:
    stopped = await loading(code, tmp_path)
    for word in words:
        assert word in stopped.detail


async def test_a_file_that_is_not_there_and_a_module_that_is_not(tmp_path: Path) -> None:
    for name, words in ((str(tmp_path / "none.py"), "no such file"), ("no_such_package.tools", "no_such_package")):
        source = PythonFile(PythonSettings(name))
        with pytest.raises(Stopped) as stopped:
            await source.open(lambda _frame: None, lambda _why: None)
        assert words in stopped.value.detail
        await source.close()


async def test_a_file_that_takes_too_long_to_load_is_given_up(tmp_path: Path) -> None:
    stopped = await loading("import threading\nthreading.Event().wait()\n", tmp_path, load_within=0.05)
    assert "not loaded within" in stopped.detail


async def test_a_module_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pack_for_tools"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("VALUE = 5\n")
    (package / "mine.py").write_text(HEAD + "from .other import VALUE\n@tool\ndef five() -> int: return VALUE\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with asking(PythonFile(PythonSettings("pack_for_tools.mine"))) as asker:
        assert await asker.text("five") == "5"


async def test_a_changed_file_is_loaded_again_and_a_broken_one_keeps_the_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    file, helper = tmp_path / "again.py", tmp_path / "again_helper.py"
    helper.write_text("VALUE = 1\n")
    body = "from again_helper import VALUE\n@tool\ndef value() -> int: return VALUE\n"
    file.write_text(HEAD + body)
    source = PythonFile(PythonSettings(str(file), reload=True, look_every=0.01))
    async with asking(source) as asker:
        assert await asker.text("value") == "1"
        file.write_text(HEAD + body + "@tool\ndef more(): ...\n")
        await asker.said("notifications/tools/list_changed")
        assert set(await asker.listed("tools/list")) == {"value", "more"}
        file.write_text(HEAD + body + "@tool\ndef more(: ...\n")
        async with asyncio.timeout(PATIENCE):
            while not source.said:
                await asker.ask("ping")
        assert "again.py, line 6: SyntaxError" in source.said[-1]
        assert set(await asker.listed("tools/list")) == {"value", "more"}
        assert await asker.text("value") == "1"
        helper.write_text("VALUE = 2\n")
        file.write_text(HEAD + body)
        await asker.said("notifications/tools/list_changed")
        assert await asker.text("value") == "2"
        helper.write_text("VALUE = 3\n")  # of the same size, within the same second
        async with asyncio.timeout(PATIENCE):
            while await asker.text("value") != "3":
                pass


def test_a_decorated_function_stays_a_function() -> None:
    @tools.tool(background=True)
    def add(a: int, ctx: tools.Context) -> int:
        ctx.progress(1)
        ctx.log("info", "x")
        assert ctx.time_left > 0
        assert not ctx.cancelled
        return a + 1

    assert add(1, tools.Context()) == 2
    mark = getattr(add, tools.ATTRIBUTE)
    assert isinstance(mark, tools.Mark)
    assert mark.background
    with pytest.raises(ValueError, match="more than 0"):
        tools.tool(timeout=0)
    with pytest.raises(ValueError, match="a b"):
        tools.prompt(name="a b")


async def test_background_tools_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + "@tool(background=True)\ndef long(): ...\n@tool\ndef short(): ...\n")
    source = PythonFile(PythonSettings(str(file)))
    async with asking(source):
        assert source.background == {"long"}


async def test_one_file_is_served_twice_and_nothing_of_it_stays(tmp_path: Path) -> None:
    file = tmp_path / "twice.py"
    file.write_text(HEAD + "seen = []\n@tool\ndef count() -> int:\n    seen.append(1)\n    return len(seen)\n")
    async with (
        asking(PythonFile(PythonSettings(str(file)))) as one,
        asking(PythonFile(PythonSettings(str(file)))) as other,
    ):
        assert [await one.text("count"), await one.text("count"), await other.text("count")] == ["1", "2", "1"]
    assert not [name for name in sys.modules if "twice" in name]


async def test_the_examples_of_the_documentation(serve: Serve) -> None:
    (code,), (oven,) = (blocks(page_text(of_docs(name)["en"]), "python") for name in ("python-tools", "jobs"))
    async with serve(oven) as asker:
        assert await asker.text("bake", {"minutes": 0}) == "The cake is done."
    async with serve(code) as asker:
        assert 1 <= int(await asker.text("dice")) <= 6
        assert "two sides" in await asker.error("dice", {"sides": 1})
        assert (await asker.listed("tools/list"))["dice"]["inputSchema"]["properties"]["sides"]["description"]
        assert await asker.ask("resources/read", {"uri": "dice://kinds"})
        assert await asker.ask("prompts/get", {"name": "game", "arguments": {"players": "3"}})


def test_nothing_heavy_is_loaded_until_it_is_needed() -> None:
    code = (
        "import sys, mcp_endpoint.cli, mcp_endpoint.tools\n"
        "print([name for name in ('yaml', 'jsonschema', 'referencing', 'docstring_parser') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=SRC)
    assert told.stdout == "[]\n"
