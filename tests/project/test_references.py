"""What comments and documents refer to is there, in this repository: sections of docs/protocol.md, and files."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from support.paths import ROOT

PRIVATE = re.compile(r"[Ii]ssue [0-9A-K]\b|routing\spage|wire\scontract|\.\./shared")
"""Words that lead nowhere for whoever has this repository and nothing else."""
BARE = re.compile(r"\((?:issue|contract|parts? [0-9]|sections? [0-9])[^)]*\)")
"""The same in a comment: no document, or one that is not here."""
PLACES = ("src", "tests", "docs", "benchmarks", "examples", "docker")

NUMBER = r"[0-9]+(?:\.[0-9]+)?"
SECTIONS = rf"(?:sections? )?(?P<numbers>{NUMBER}(?:(?:, | and | to ){NUMBER})*)"
REFERENCE = re.compile(rf"docs/protocol\.md, {SECTIONS}")
WITHIN = re.compile(rf"\bsections? (?P<numbers>{NUMBER}(?:(?:, | and | to ){NUMBER})*)")
DECLARED = re.compile(rf"^(?:## (?P<chapter>[0-9]+)\. |\*\*(?P<section>{NUMBER}) )", re.MULTILINE)

FILE = re.compile(r"(?<![\w./~$-])(?P<path>(?:[\w-]+/)*[\w-]+\.(?:py|md|mjs|cfg|sh))(?![\w/])")
OF_OTHERS = frozenset({"mcp_pipe.py", "x.md"})
"""Files of other programs, and of examples, that are named."""


def files(*suffixes: str) -> list[Path]:
    """The repository's own files, without what was installed or fetched."""
    found = [path for place in PLACES for path in (ROOT / place).rglob("*")] + [*ROOT.iterdir()]
    of_others = {"node_modules", "__pycache__", "public"}
    return [path for path in found if path.suffix in suffixes and not of_others.intersection(path.parts)]


def endings(path: Path) -> Iterator[str]:
    """What a file may be called: `docs/protocol.md` or `protocol.md`."""
    parts = path.relative_to(ROOT).parts
    yield from ("/".join(parts[at:]) for at in range(len(parts)))


KNOWN = {name for path in files(".py", ".md", ".mjs", ".cfg", ".sh") for name in endings(path)}
PROTOCOL = ROOT / "docs/protocol.md"
PAGES = files(".md")


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
    readers = files(".py", ".md", ".mjs", ".cfg", ".sh", ".yaml", ".toml")
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
    if path != PROTOCOL:
        yield from (match[0] for match in BARE.finditer(text))
    for match in FILE.finditer(text):
        name = match["path"]
        if name not in OF_OTHERS | KNOWN:
            yield name


def test_references_lead_somewhere() -> None:
    found = {path.relative_to(ROOT).as_posix(): list(astray(path)) for path in [*PROGRAMS, *PAGES]}
    assert {name: references for name, references in found.items() if references} == {}


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        '"""See wire/nowhere.py and\n\ndocs/protocol.md, sections 3 and 98."""\n'
        "A = 'no/comment.py'  # (section 4) docs/protocol.md, section 99.9, errors.py\n",
        "utf-8",
    )
    assert list(astray(program)) == [
        "docs/protocol.md, section 98",
        "docs/protocol.md, section 99.9",
        "(section 4)",
        "wire/nowhere.py",
    ]
