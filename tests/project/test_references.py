"""What comments and documents refer to is there, in this repository: sections of docs/protocol.md, and files."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

PRIVATE = re.compile(r"[Ii]ssue [0-9A-K]\b|routing page|wire contract|\.\./shared")
"""Words that lead nowhere for whoever has this repository and nothing else."""
PLACES = ("src", "tests", "docs", "benchmarks", "examples")

NUMBER = r"[0-9]+(?:\.[0-9]+)?"
SECTIONS = rf"(?:sections? )?(?P<numbers>{NUMBER}(?:(?:, | and | to ){NUMBER})*)"
REFERENCE = re.compile(rf"docs/protocol\.md, {SECTIONS}")
WITHIN = re.compile(rf"\bsections? (?P<numbers>{NUMBER}(?:(?:, | and | to ){NUMBER})*)")
DECLARED = re.compile(rf"^(?:## (?P<chapter>[0-9]+)\. |\*\*(?P<section>{NUMBER}) )", re.MULTILINE)

FILE = re.compile(r"(?<![\w./~$-])(?P<path>(?:[\w-]+/)*[\w-]+\.(?:py|md|mjs|cfg|sh))(?![\w/])")
OF_OTHERS = frozenset({"mcp_pipe.py", "config.py", "my_tools.py", "app.py", "xiaozhi_server.py"})
"""Files of other programs, and of users, that are named."""


def files(*suffixes: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.suffix in suffixes and path.is_file()]


KNOWN = {path.relative_to(ROOT).as_posix() for path in files(".py", ".md", ".mjs", ".cfg", ".sh")}
PROTOCOL = ROOT / "docs/protocol.md"
WORKERS_PAGES = [ROOT / "docs" / name for name in ("protocol.md", "architecture.md", "decisions.md", "conformance.md")]


def prose(path: Path) -> str:
    """The comments and docstrings of a program, in its order; a page is prose as a whole."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        return text
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    said = [node.value.value for node in nodes if isinstance(node.value, ast.Constant)]
    said += [
        token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]
    return " ".join(" ".join(one.split()) for one in said if isinstance(one, str))


def named(numbers: str) -> Iterator[str]:
    """The sections that a reference names: `3.2`, `10 and 11`, `1 to 5`."""
    yield from re.findall(NUMBER, numbers)


def declared() -> set[str]:
    found = DECLARED.finditer(PROTOCOL.read_text("utf-8"))
    return {match["chapter"] or match["section"] for match in found}


PROGRAMS = [path for path in files(".py") if path.relative_to(ROOT).parts[0] in PLACES]


def test_nothing_refers_to_what_is_not_in_the_repository() -> None:
    readers = [
        path
        for path in files(".py", ".md", ".mjs", ".cfg", ".sh", ".yaml", ".toml")
        if path not in (Path(__file__), ROOT / "docs/performance.md")
    ]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in readers
        for match in PRIVATE.finditer(path.read_text("utf-8"))
    ]
    assert not found


def test_sections_of_the_protocol_are_numbered_without_a_gap() -> None:
    text = PROTOCOL.read_text("utf-8")
    numbers = [match["chapter"] or match["section"] for match in DECLARED.finditer(text)]
    assert len(numbers) == len(set(numbers))
    chapter, section = 0, 0
    for number in numbers:
        if "." not in number:
            chapter, section = chapter + 1, 0
            assert number == str(chapter)
        else:
            section += 1
            assert number == f"{chapter}.{section}"


def astray(path: Path) -> Iterator[str]:
    """What a program's comments, or a page, refer to that is not there."""
    text = " ".join(prose(path).split())
    sections = declared()
    for match in (WITHIN if path == PROTOCOL else REFERENCE).finditer(text):
        yield from (
            f"docs/protocol.md, section {number}" for number in named(match["numbers"]) if number not in sections
        )
    for match in FILE.finditer(text):
        name = match["path"]
        if name not in OF_OTHERS and not any(known == name or known.endswith(f"/{name}") for known in KNOWN):
            yield name


@pytest.mark.parametrize("path", [*PROGRAMS, *WORKERS_PAGES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_references_lead_somewhere(path: Path) -> None:
    assert not list(astray(path))


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        '"""See wire/nowhere.py and\n\ndocs/protocol.md, sections 3 and 98."""\n'
        "A = 'no/comment.py'  # docs/protocol.md, section 99.9, errors.py\n",
        "utf-8",
    )
    assert list(astray(program)) == [
        "docs/protocol.md, section 98",
        "docs/protocol.md, section 99.9",
        "wire/nowhere.py",
    ]
