"""The project's Markdown pages as tests read them: which there are, their headings, tables, code and links."""

import re
from collections.abc import Mapping
from pathlib import Path

from mcp_endpoint.settings.schema import Language
from support.paths import ROOT

LANGUAGES: tuple[Language, ...] = ("en", "zh")
FOR_DEVELOPERS = {"architecture", "conformance", "decisions", "development", "performance", "protocol"}
"""Pages of docs/ for those who work on the broker: in English only."""

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])

FENCE = re.compile(r"^(?P<margin> *)```(?P<kind>[^\n]*)\n(?P<body>.*?)^(?P=margin)```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")

Table = list[list[str]]
"""Rows of cells, the head first."""


def of_docs(name: str) -> Mapping[Language, Path]:
    """A page of docs/ in both languages."""
    return {"en": ROOT / "docs" / f"{name}.md", "zh": ROOT / "docs" / f"{name}.zh-CN.md"}


README: Mapping[Language, Path] = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
FOR_USERS: Mapping[str, Mapping[Language, Path]] = {"README": README} | {
    name: of_docs(name)
    for name in sorted({page.name.removesuffix(".md").removesuffix(".zh-CN") for page in (ROOT / "docs").glob("*.md")})
    if name not in FOR_DEVELOPERS
}


def page_text(page: Path) -> str:
    return page.read_text("utf-8")


def headings(text: str) -> list[tuple[int, str]]:
    """Level and words of each."""
    return [(len(level), words) for level, words in re.findall(r"^(#+) (.+)$", FENCE.sub("", text), re.MULTILINE)]


def anchors(text: str) -> list[str]:
    """What links to its headings end in, in their order."""
    return [re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-") for _, words in headings(text)]


def blocks(text: str, kind: str | None = None) -> list[str]:
    """What stands in the blocks of code, of all kinds or of one (`json`, `python`, `bash`, or `` for none)."""
    return [match["body"] for match in FENCE.finditer(text) if kind is None or match["kind"] == kind]


def spans(text: str) -> list[str]:
    """The code within lines."""
    return SPAN.findall(FENCE.sub("", text))


def code_of(text: str) -> list[str]:
    """Every line of code on a page: those of its blocks, and its spans."""
    return [line for block in blocks(text) for line in block.splitlines()] + spans(text)


def links(text: str) -> list[str]:
    """Where the links of a page lead, as they are written."""
    plain = SPAN.sub("", FENCE.sub("", text))
    return re.findall(r"\]\(<?([^)\s>]+)>?[^)]*\)", plain) + re.findall(r"""(?:href|src)=["']([^"']+)""", plain)


def tables(page: Path) -> list[Table]:
    """The tables of a page, without the line below the head."""
    found: list[Table] = [[]]
    for line in page_text(page).splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not set(line) <= set("|-: "):
                found[-1].append(cells)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def the_table(page: Path, keys: set[str]) -> dict[str, list[str]]:
    """The rows of the one table whose first column holds one of `keys`, by that column."""
    [table] = [table for table in tables(page) if keys & {row[0] for row in table}]
    rows = {row[0]: row[1:] for row in table[1:]}
    assert len(rows) == len(table) - 1, "a row stands there twice"
    return rows
