"""The three files of examples/tools: each works as it is, and says plainly what it cannot do."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from mcp_endpoint.providers.local.python.source import PythonFile, PythonSettings
from support.paths import ROOT
from support.servers.source_client import Asker, asking

FOLDER = ROOT / "examples" / "tools"
Example = Callable[[str], AbstractAsyncContextManager[Asker]]


@pytest.fixture
def example() -> Example:
    return lambda name: asking(PythonFile(PythonSettings(str(FOLDER / f"{name}.py"))))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
async def test_every_example_says_what_it_does(file: Path, example: Example) -> None:
    async with example(file.stem) as asker:
        for one in (await asker.listed("tools/list")).values():
            assert one["description"]
            assert one["title"]
            for parameter in one["inputSchema"]["properties"].values():
                assert parameter.get("description") or parameter.get("type")


def test_every_example_says_how_it_is_served() -> None:
    for file in FOLDER.glob("*.py"):
        assert f"--python examples/tools/{file.name}" in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("value", "source", "target", "text"),
    [
        (1, "km", "mi", "1 km = 0.6213711922 mi"),
        (100, "°C", "°F", "100 C = 212 F"),
        (-40, "f", "摄氏度", "-40 F = -40 C"),
        (3, "斤", "kg", "3 斤 = 1.5 kg"),
        (2, "GiB", "MB", "2 GiB = 2147.483648 MB"),
        ("1", "亩", "m2", "1 亩 = 666.6666667 m2"),
        (36, "km/h", "m/s", "36 km/h = 10 m/s"),
    ],
)
async def test_units(example: Example, value: object, source: str, target: str, text: str) -> None:
    async with example("units") as asker:
        result = await asker.call("convert_units", {"value": value, "from_unit": source, "to_unit": target})
        assert result["structuredContent"]["text"] == text


async def test_units_that_do_not_fit(example: Example) -> None:
    async with example("units") as asker:
        assert "length" in await asker.error("convert_units", {"value": 1, "from_unit": "m", "to_unit": "kg"})
        assert "known:" in await asker.error("convert_units", {"value": 1, "from_unit": "parsec", "to_unit": "m"})
        assert await asker.error("convert_units", {"value": 1e300, "from_unit": "m", "to_unit": "km"})
        (read,) = (await asker.ask("resources/read", {"uri": "units://all"}))["contents"]
        assert "km" in json.loads(read["text"])["length 长度"]


async def test_notes(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTES_FOLDER", str(tmp_path))
    async with example("notes") as asker:
        await asker.text("note_write", {"title": "购物 ../清单", "text": "牛奶"})
        await asker.text("note_write", {"title": "购物 ../清单", "text": "鸡蛋"})
        await asker.text("note_write", {"title": "b", "text": "old"})
        await asker.text("note_write", {"title": "b", "text": "new", "append": False})
        assert await asker.text("note_read", {"title": "购物 ../清单"}) == "牛奶\n\n鸡蛋"
        assert await asker.text("note_read", {"title": "b"}) == "new"
        found = (await asker.call("note_find", {"words": "鸡蛋"}))["structuredContent"]["result"]
        assert found == ["购物 ../清单"]
        assert len((await asker.call("note_find"))["structuredContent"]["result"]) == 2
        await asker.text("note_delete", {"title": "b"})
        assert "no such note" in await asker.error("note_read", {"title": "b"})
        # Another agent has notes of its own.
        meta = {"mcp-endpoint/caller": {"agent": "../x"}}
        other = await asker.call("note_find", _meta=meta)
        assert other["structuredContent"]["result"] == []
    assert names(tmp_path, "*/*.md") == {"everybody"}
    assert names(tmp_path, "*/") == {tmp_path.name}


def names(folder: Path, pattern: str) -> set[str]:
    """The folders in which something like this is."""
    return {path.parent.name for path in folder.glob(pattern)}


async def test_dates_and_a_timer(example: Example) -> None:
    async with example("calendar_and_timers") as asker:
        day = (await asker.call("date_info", {"day": "2024-02-29"}))["structuredContent"]
        assert (day["weekday"], day["week"]) == ("星期四 Thursday", 9)
        moved = (await asker.call("date_add", {"day": "2024-01-31", "months": 1, "days": 1}))["structuredContent"]
        assert moved["date"] == "2024-03-01"
        assert "out of range" in await asker.error("date_add", {"day": "9999-12-31", "days": 1})
        assert "UTC+0000" in await asker.text("time_now", {"zone": "UTC"})
        assert "no time zone" in await asker.error("time_now", {"zone": "../etc/passwd"})
        result = await asker.call("timer", {"seconds": 1, "label": "茶"}, _meta={"progressToken": 1})
        assert "茶" in result["content"][0]["text"]
        assert [frame["params"]["progress"] for frame in asker.kept] == [0, 1]
