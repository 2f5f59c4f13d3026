"""The documentation says what the code does: settings, codes, reasons, states, commands; its links lead somewhere.

The tables of docs/settings*.md are written by `PYTHONPATH=src:tests .venv/bin/python tests/project/test_docs.py`.
"""

import re
from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote

import pytest
from pydantic import ValidationError

from mcp_endpoint import cli
from mcp_endpoint.broker.agent_state.why import State
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.json_rpc import MESSAGES, Code, Fault
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.settings.schema import ANY_AGENT, Language, Settings, describe, describe_agent
from mcp_endpoint.settings.values import NotAllowedError
from support.documents import LANGUAGES, PAGES, anchors, code_of, links, of_docs, page_text, spans, tables, the_table
from support.paths import ROOT

SETTINGS, ERRORS, TROUBLES, COMMANDS = map(of_docs, ("settings", "errors", "troubleshooting", "commands"))

MARK = "<!-- written by tests/project/test_docs.py -->\n"
HEADS: dict[Language, str] = {
    "en": "| key | default | what it is | allowed |",
    "zh": "| 键 | 默认值 | 说明 | 可填的值 |",
}


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


@pytest.mark.parametrize("language", LANGUAGES)
def test_settings_page_is_what_the_settings_describe(language: Language) -> None:
    _, _, written = SETTINGS[language].read_text("utf-8").partition(MARK)
    assert written == settings_tables(language), (
        "write it anew: PYTHONPATH=src:tests .venv/bin/python tests/project/test_docs.py"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_of_errors_has_every_error_code_with_its_message_and_reasons(language: Language) -> None:
    rows = the_table(ERRORS[language], {f"`{Code.PARSE_ERROR}`"})
    assert {code: (spans(message), sorted(spans(reasons))) for code, (message, reasons, _) in rows.items()} == {
        f"`{int(code)}`": ([MESSAGES[code]], sorted(fault.reason for fault in Fault if fault.code is code))
        for code in Code
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_of_errors_has_every_end_with_its_close_code_text_and_words(language: Language) -> None:
    rows = the_table(ERRORS[language], {f"`{End.BAD_TOKEN.reason}`"})
    assert {reason: (code, spans(text)) for reason, (code, text, _) in rows.items()} == {
        f"`{end.reason}`": (str(end.code), [end.wire] if end.wire else []) for end in End
    }
    for end in End:
        assert rows[f"`{end.reason}`"][2].startswith(end.words(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_of_errors_has_every_refusal_with_its_status(language: Language) -> None:
    rows = the_table(ERRORS[language], {f"`{Refusal.NO_DOOR.reason}`"})
    assert {reason: status for reason, (status, _) in rows.items()} == {
        f"`{refusal.reason}`": str(refusal.status or "–") for refusal in Refusal
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_of_errors_has_every_note_of_a_link(language: Language) -> None:
    rows = the_table(ERRORS[language], {"`silent_on_device_door`"})
    assert {spans(note)[0] for note in rows} == {note.reason for note in Note}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_of_symptoms_says_what_to_do_about_every_state_of_an_agent(language: Language) -> None:
    """Each row quotes the beginning of one state's sentence, or of the one about calls that time out."""
    head = ["You see", "It says", "What to do"] if language == "en" else ["现象", "提示", "怎么办"]
    [table] = [table for table in tables(TROUBLES[language]) if table[0] == head]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in links(page_text(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / unquote(path)).resolve() if path else page
        assert there.is_relative_to(ROOT), f"{target} leaves the repository"
        assert there.exists(), f"{target} does not exist"
        if anchor:
            assert unquote(anchor) in anchors(page_text(there)), f"{target} names no heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_make_target_named_exists(page: Path) -> None:
    named = {
        match[1]
        for line in code_of(page_text(page))
        for match in re.finditer(r"(?:^|[;&|] *|sudo )\s*make(?: -C \S+)? ([a-z][\w-]*)", line)
    }
    assert named <= targets()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_named_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = r"(?:\S*main\.py|mcp-endpoint|(?:run --rm|exec) mcp-endpoint-server)"
    for line in code_of(page_text(page)):
        for match in re.finditer(rf"(?:^|\s){start} ([a-z][a-z-]+)(?= |$)", line):
            if match[1] != "python":  # `docker compose exec SERVICE python main.py …`
                with pytest.raises(SystemExit) as end:
                    cli.main([match[1], "--help"])
                assert end.value.code == 0, f"{line}: {capsys.readouterr().err}"


def test_every_benchmark_named_exists_with_its_options_and_parts() -> None:
    lines = [line for page in PAGES for line in code_of(page_text(page)) if "benchmarks/" in line]
    assert lines
    for line in lines:
        words = line.split()
        [script] = [word for word in words if word.startswith("benchmarks/")]
        source = page_text(ROOT / script)
        options = [word for word in words if word.startswith("--") and word != "--help"]
        assert [option for option in options if f'"{option}"' not in source] == [], line
        for part in words[words.index("--only") + 1].split(",") if "--only" in words else []:
            assert (ROOT / f"benchmarks/{part}.py").exists(), line


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", page_text(ROOT / "Makefile"), re.M))


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The commands that the help lists."""
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    return re.findall(r"^    ([a-z][a-z-]+)(?=  |$)", capsys.readouterr().out, re.M)


def test_the_page_of_commands_names_each_and_what_servers_does(capsys: pytest.CaptureFixture[str]) -> None:
    """What exists and is told nowhere is not found by anybody."""
    commands, actions = listed(capsys), listed(capsys, "servers")
    assert "check-config" in commands
    assert "login" in actions
    for page in COMMANDS.values():
        code = "\n".join(spans(page_text(page)))
        assert [name for name in commands if not re.search(rf"main\.py {name}\b", code)] == []
        assert [name for name in actions if not re.search(rf"\b{name}\b", code)] == []


def test_the_page_for_developers_names_every_make_target() -> None:
    code = "\n".join(code_of(page_text(ROOT / "docs/development.md")))
    assert [name for name in targets() if not re.search(rf"\bmake {name}\b", code)] == []


if __name__ == "__main__":
    write_settings()
