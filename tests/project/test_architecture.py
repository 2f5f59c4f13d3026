"""docs/architecture.md is the house as it is built: its folders, its walk of a frame, its floors."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from support.paths import ROOT

PACKAGE = ROOT / "src/mcp_endpoint"
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")
SPAN = re.compile(r"`([^`]+)`")


def chapter(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The rows of a chapter's tables, without their heads."""
    lines = [line for line in chapter(title).splitlines() if line.startswith("|")]
    heads = {at for at, line in enumerate(lines, -1) if line.startswith("|---")}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for at, line in enumerate(lines)
        if at not in heads and not line.startswith("|---")
    ]


def defined(path: Path) -> set[str]:
    """The functions of a module, those of classes as `Class.function`."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{one.name}"
                for one in node.body
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found


def test_every_folder_and_module_at_the_top_is_listed_and_nothing_else() -> None:
    listed = [SPAN.findall(cells[0])[0] for cells in rows("Folders")]
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")} - {"."}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert sorted(listed) == sorted(folders | modules)


def test_floors_are_those_of_the_linter() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["name"].startswith("Floors")]
    told = chapter("Floors").partition("From the top:")[2].partition(".")[0]
    floors = [sorted(SPAN.findall(floor)) for floor in told.split("·")]
    assert floors == [sorted(one.strip().removeprefix("mcp_endpoint.") for one in floor.split(":")) for floor in layers]


@pytest.mark.parametrize("cells", rows("The walk of a frame"), ids=lambda cells: cells[1])
def test_the_walk_goes_by_functions_that_are_there(cells: list[str]) -> None:
    [file], functions = SPAN.findall(cells[0]), SPAN.findall(cells[1])
    assert set(functions) <= defined(PACKAGE / file)


@pytest.mark.parametrize("cells", rows("Where to put the next thing"), ids=lambda cells: cells[0])
def test_every_place_for_the_next_thing_is_there(cells: list[str]) -> None:
    places = SPAN.findall(cells[1])
    assert places
    for place in places:
        assert (PACKAGE / place).exists(), place
