"""The documentation says what the code does: settings, codes, close reasons, commands, links, and both languages alike.

The tables of docs/settings*.md are written by `PYTHONPATH=src .venv/bin/python tests/project/test_docs.py`.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import pytest
from pydantic import ValidationError

from mcp_endpoint import cli
from mcp_endpoint.broker.why import State
from mcp_endpoint.errors import MESSAGES, Code, End, Fault, Note, Refusal
from mcp_endpoint.settings.schema import ANY_AGENT, Language, Settings, describe, describe_agent
from mcp_endpoint.settings.values import NotAllowedError
from support.paths import ROOT

LANGUAGES: tuple[Language, ...] = get_args(Language)
READMES: dict[Language, Path] = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
SETTINGS: dict[Language, Path] = {"en": ROOT / "docs/settings.md", "zh": ROOT / "docs/settings.zh-CN.md"}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])

MARK = "<!-- written by tests/project/test_docs.py -->\n"
HEADS: dict[Language, str] = {
    "en": "| key | default | what it is | allowed |",
    "zh": "| 键 | 默认值 | 说明 | 可填的值 |",
}

FENCE = re.compile(r"^(?P<margin> *)```[^\n]*\n(?P<body>.*?)^(?P=margin)```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")


def allowed(section: str, key: str, language: Language) -> str:
    """What may be written there, in the words of the error that refuses anything else."""
    values: dict[str, dict[str, str]] = {name: {} for name, *_ in [*describe(), ("x",)]}
    values["server"]["key"] = "k"
    values["x" if section == ANY_AGENT else section][key] = "\0"  # no kind of value allows it
    try:
        Settings.model_validate(values | {"agents": {"x": values.pop("x")}})
    except ValidationError as error:
        cause = error.errors()[0]["ctx"]["error"]
        assert isinstance(cause, NotAllowedError)
        return cause.en if language == "en" else cause.zh
    raise AssertionError(f"[{section}] {key} takes a NUL")


def settings_tables(language: Language) -> str:
    sections: dict[str, list[str]] = defaultdict(list)
    of_an_agent = [(ANY_AGENT, *row) for row in describe_agent(language)]
    for section, key, default, line in [*describe(language), *of_an_agent]:
        shown = f"`{default}`" if default else "–"
        sections[section].append(f"| `{key}` | {shown} | {line} | {allowed(section, key, language)} |")
    return "".join(
        f"\n## [{section}]\n\n{HEADS[language]}\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
        for section, rows in sections.items()
    )


def write_settings() -> None:
    for language, page in SETTINGS.items():
        before, mark, _ = page.read_text("utf-8").partition(MARK)
        assert mark, f"{page} has no line {MARK}"
        page.write_text(before + mark + settings_tables(language), "utf-8")


def without_code(text: str) -> str:
    return SPAN.sub("", FENCE.sub("", text))


def code_of(text: str) -> list[str]:
    """Every line of code on a page: those of its blocks, and its spans."""
    blocks = [match["body"] for match in FENCE.finditer(text)]
    return [line for block in blocks for line in block.splitlines()] + SPAN.findall(FENCE.sub("", text))


def tables(page: Path) -> list[list[list[str]]]:
    """The tables of a page: rows of cells, with the head and without the line below it."""
    found: list[list[list[str]]] = [[]]
    for line in page.read_text("utf-8").splitlines():
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


def spans(cell: str) -> list[str]:
    return SPAN.findall(cell)


@pytest.mark.parametrize("language", LANGUAGES)
def test_settings_page_is_what_the_settings_describe(language: Language) -> None:
    _, _, written = SETTINGS[language].read_text("utf-8").partition(MARK)
    assert written == settings_tables(language), (
        "write it anew: PYTHONPATH=src .venv/bin/python tests/project/test_docs.py"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_readme_has_every_error_code_with_its_message_and_reasons(language: Language) -> None:
    rows = the_table(READMES[language], {f"`{Code.PARSE_ERROR}`"})
    assert {code: (spans(message), sorted(spans(reasons))) for code, (message, reasons, _) in rows.items()} == {
        f"`{int(code)}`": ([MESSAGES[code]], sorted(fault.reason for fault in Fault if fault.code is code))
        for code in Code
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_readme_has_every_end_with_its_close_code_text_and_words(language: Language) -> None:
    rows = the_table(READMES[language], {f"`{End.BAD_TOKEN.reason}`"})
    assert {reason: (code, spans(text)) for reason, (code, text, _) in rows.items()} == {
        f"`{end.reason}`": (str(end.code), [end.wire] if end.wire else []) for end in End
    }
    for end in End:
        assert rows[f"`{end.reason}`"][2].startswith(end.words(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_readme_has_every_refusal_with_its_status(language: Language) -> None:
    rows = the_table(READMES[language], {f"`{Refusal.NO_DOOR.reason}`"})
    assert {reason: status for reason, (status, _) in rows.items()} == {
        f"`{refusal.reason}`": str(refusal.status or "–") for refusal in Refusal
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_readme_has_every_note_of_a_link(language: Language) -> None:
    rows = the_table(READMES[language], {"`silent_on_device_door`"})
    assert {spans(note)[0] for note in rows} == {note.reason for note in Note}


@pytest.mark.parametrize("language", LANGUAGES)
def test_readme_says_what_to_do_about_every_state_of_an_agent(language: Language) -> None:
    """Each row quotes the beginning of one state's sentence, or of the one about calls that time out."""
    head = ["You see", "It says", "What to do"] if language == "en" else ["现象", "提示", "怎么办"]
    [table] = [table for table in tables(READMES[language]) if table[0] == head]
    states = {state.name: plain(state.zh if language == "zh" else state.en) for state in State}
    late = Fault.CALL_TIMED_OUT.sentence(language, tool_side="…", seconds="…", called="…", zh="", en="")
    known = states | {"late": late[:1].lower() + late[1:].rstrip("。.")}
    quoted = []
    for symptom, quote, remedy in table[1:]:
        assert symptom
        assert remedy
        beginning = plain(quote).removesuffix("…")
        [name] = [name for name, sentence in known.items() if sentence.startswith(beginning)]
        quoted.append(name)
    assert sorted(quoted) == sorted(known), "every state once"


def plain(sentence: str) -> str:
    return re.sub(r"\{\w+\}", "…", sentence).replace("`", "")


def test_both_readmes_have_the_same_shape_and_the_same_code() -> None:
    texts = [page.read_text("utf-8") for page in READMES.values()]
    english, chinese = ([len(level) for level in re.findall(r"^(#+) ", FENCE.sub("", text), re.M)] for text in texts)
    assert len(english) > 5
    assert english == chinese
    english_code, chinese_code = ([match[0] for match in FENCE.finditer(text)] for text in texts)
    assert len(english_code) > 5
    assert english_code == chinese_code
    shapes = [[[len(row) for row in table] for table in tables(page)] for page in READMES.values()]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = without_code(page.read_text("utf-8"))
    targets = re.findall(r"\]\(<?([^)\s>]+)>?[^)]*\)", text) + re.findall(r"""(?:href|src)=["']([^"']+)""", text)
    for target in targets:
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / unquote(path)).resolve() if path else page
        assert there.is_relative_to(ROOT), f"{target} leaves the repository"
        assert there.exists(), f"{target} does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", there.read_text("utf-8")), re.M)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert unquote(anchor) in slugs, f"{target} names no heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_make_target_named_exists(page: Path) -> None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = {
        match[1]
        for line in code_of(page.read_text("utf-8"))
        for match in re.finditer(r"(?:^|[;&|] *|sudo )\s*make(?: -C \S+)? ([a-z][\w-]*)", line)
    }
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_named_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = r"(?:\S*main\.py|mcp-endpoint|(?:run --rm|exec) mcp-endpoint-server)"
    for line in code_of(page.read_text("utf-8")):
        for match in re.finditer(rf"(?:^|\s){start} ([a-z][a-z-]+)(?= |$)", line):
            if match[1] != "python":  # `docker compose exec SERVICE python main.py …`
                with pytest.raises(SystemExit) as end:
                    cli.main([match[1], "--help"])
                assert end.value.code == 0, f"{line}: {capsys.readouterr().err}"


def test_the_readmes_name_every_make_target_and_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """What exists and is told nowhere is not found by anybody."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    listed = re.findall(r"^    ([a-z][a-z-]+)(?=  |$)", capsys.readouterr().out, re.M)
    assert "check-config" in listed
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    for page in READMES.values():
        code = "\n".join(code_of(page.read_text("utf-8")))
        assert [name for name in listed if not re.search(rf"main\.py {name}\b", code)] == []
        assert [name for name in targets if not re.search(rf"\bmake {name}\b", code)] == []


if __name__ == "__main__":
    write_settings()
