"""Every command in both languages: each line that it prints is in the one that was asked for."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mcp_endpoint import cli
from support.languages import LABELS, no_chinese, no_pair
from support.peers import KEY

NOBODY = "ws://127.0.0.1:1/mcp_endpoint/call/?token=x"
BAD_ENTRY = {"mcpServers": {"there": {"command": "x", "typ": "y"}, "wrong": {"url": 3}, "off": {"command": "x"}}}
Run = Callable[..., tuple[int, str, str]]

# The line, its exit code, and a word of the answer in Chinese and in English; OF is the folder of the settings.
LINES: list[tuple[str, int, str, str]] = [
    ("urls", 0, "勿泄露", "keep it secret"),
    ("token --agent test001", 0, "设备端", "device"),
    ("token --check x", 1, "不是本服务的 token", "not a token of this broker"),
    ("token --check xTr7w9G0EcAbf8IorLoBiE5b9K+CwZtl2DlcrI/9XpY=", 0, "有效的 token", "A valid token"),
    ("token --agent x --check y", 2, "不能与", "not allowed with"),
    ("check-config", 0, "配置正确", "good."),
    ("--config OF/absent.cfg check-config", 2, "配置文件不存在", "there is no such settings file"),
    ("--config OF/bad.cfg check-config", 2, "第 2 行", "line 2: [server] port = 'x': allowed: "),
    ("--config OF/bad.cfg run", 2, "可填的值：", "allowed: "),
    ("--config OF/syntax.cfg", 2, "第 1 行", "line 1 is neither"),
    ("--config OF/slip.cfg check-config", 0, "是否想写 port", "did you mean port?"),
    ("doctor", 1, "无法监听|无人监听|系统选择", "Nobody|chooses"),
    ("--config OF/bad.cfg doctor", 2, "[问题]", "[problem]"),
    ("doctor --agent nobody --token x", 2, "不能与", "not allowed with"),
    ("servers", 1, "没有运行", "not running"),
    ("servers add a", 2, "请给出其中一种", "give one of"),
    ("servers add there --python x.py", 2, "服务“there”：已存在", 'server "there": is there already'),
    ("servers add new --python x.py", 0, "已添加", "added"),
    ("servers add", 2, "缺少 NAME", "are required: NAME"),
    ("servers add a --type x", 2, "--type 不能是 'x'", "invalid choice"),
    ("servers disable off", 0, "已停用", "disabled"),
    ("servers enable off", 0, "已启用", "enabled"),
    ("servers remove off", 0, "已删除", "removed"),
    ("servers remove gone", 2, "不存在，现有", "is not listed; there are"),
    ("servers accept there", 0, "没有变化", "none of its tools changed"),
    ("servers login there", 2, "不是 http 或 sse", "is no server with a url"),
    ("servers login x --port 0", 2, "应为 1 到 65535", "a number from 1 to 65535"),
    ("tools", 2, "没有给出接入点地址", "No endpoint URL"),
    (f"tools {NOBODY}", 1, "连接被拒绝", "connection refused"),
    (f"tools {NOBODY.replace('/call/', '/mcp/')}", 1, "已改用设备端地址", "using the device URL"),
    (f"call --url {NOBODY} tool []", 2, "JSON 对象", "one JSON object"),
    ("call", 2, "缺少 TOOL", "required: TOOL"),
    ("call --url", 2, "--url 后面缺少一个值", "expected one argument"),
    ("pipe ws://h/mcp", 2, "三选一", "one kind of tools"),
    ("pipe -- cmd", 2, "没有给出接入点地址", "No endpoint URL"),
    (f"pipe {NOBODY} -- no-such-program", 127, "找不到程序", "There is no program"),
    (f"pipe {NOBODY} --servers OF/absent.json", 2, "无法读取", "cannot be read"),
    (f"pipe {NOBODY} --python OF/absent.py", 1, "工具无法提供", "The tools cannot be served"),
    ("urls --nonsense", 2, "用法: mcp-endpoint urls", "usage: mcp-endpoint urls"),
    ("urls --nonsense", 2, "无法识别：--nonsense", "unrecognized arguments: --nonsense"),
    ("token extra", 2, "用法: mcp-endpoint token", "usage: mcp-endpoint token"),
    ("servers enable off extra", 2, "用法: mcp-endpoint servers enable", "usage: mcp-endpoint servers enable"),
    ("servers list", 1, "没有运行", "not running"),
    (f"tools --url {NOBODY}", 1, "连接被拒绝", "connection refused"),
    ("servers accept gone", 2, "不存在，现有", "is not listed; there are"),
    ("call x --=1", 2, "--=1 不明确", "ambiguous option: --=1"),
    ("nonsense", 2, "COMMAND 不能是 'nonsense'", "invalid choice: 'nonsense'"),
    *((f"{command} --help", 0, "用法: mcp-endpoint", "usage: mcp-endpoint")
      for command in ("", "token", "doctor", "pipe", "servers", "servers add", "servers login", "tools", "call")),
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a folder with settings; gives its exit code, stdout and stderr."""
    (tmp_path / "good.cfg").write_text(f"[server]\nkey = {KEY}\nhost = 127.0.0.1\nport = 0\n[logging]\nlog_file =\n")
    (tmp_path / "slip.cfg").write_text(f"[server]\nkey = {KEY}\nprot = 1\n")
    (tmp_path / "bad.cfg").write_text("[server]\nport = x\n")
    (tmp_path / "syntax.cfg").write_text("nonsense\n")
    (tmp_path / "mcp_servers.json").write_text(json.dumps(BAD_ENTRY))
    for name in ("MCP_ENDPOINT", "MCP_ENDPOINT_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def run(words: Sequence[str], **environ: str) -> tuple[int, str, str]:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        line = [word.replace("OF/", f"{tmp_path}/") for word in words]
        if "--config" not in line:
            line = ["--config", str(tmp_path / "good.cfg"), *line]
        try:
            code = cli.main(line, home=str(tmp_path))
        except SystemExit as end:  # of argparse
            code = int(str(end.code))
        out, err = (text.replace(str(tmp_path), "OF") for text in capfd.readouterr())
        return code, out, err

    return run


def spoken(line: str, language: str, *, before: bool) -> list[str]:
    """The words of a line that asks for a language, before or behind its command."""
    words = line.split()
    end = words.index("--") if "--" in words else len(words)
    return ["--lang", language, *words] if before else [*words[:end], f"--lang={language}", *words[end:]]


@pytest.mark.parametrize(("line", "code", "zh", "en"), LINES, ids=[line for line, *_ in LINES])
@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
def test_each_line_of_a_command_is_chinese(run: Run, line: str, code: int, zh: str, en: str, before: bool) -> None:
    told, out, err = run(spoken(line, "zh", before=before))
    assert told == code, out + err
    assert any(word in out + err for word in zh.split("|")), out + err
    for one in (out + err).splitlines():
        assert " / " not in one
        ours = re.sub("（.*?）", "", one)  # what the system or a peer says stands in brackets
        assert not re.search(r"\b(the|is|are|and|was|not|has|must|of)\b", ours), "an English sentence"


@pytest.mark.parametrize(("line", "code", "zh", "en"), LINES, ids=[line for line, *_ in LINES])
@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
def test_each_line_of_a_command_is_english(run: Run, line: str, code: int, zh: str, en: str, before: bool) -> None:
    told, out, err = run(spoken(line, "en", before=before))
    assert told == code, out + err
    assert any(word in out + err for word in en.split("|")), out + err
    lines = [one for one in (out + err).splitlines() if not one.startswith(LABELS)]
    assert [one for one in lines if not no_chinese(one)] == []


@pytest.mark.parametrize("host", ["192.0.2.1", "fe80::%no-such-interface"])  # not this machine's; none at all
def test_why_a_broker_cannot_listen_is_in_the_systems_own_words_alone(run: Run, host: str) -> None:
    told, _, err = run(["--lang", "zh", "run"], MCP_ENDPOINT_SERVER__HOST=host)
    assert told == 1
    assert re.search(rf"无法监听 {host}:0（[^（）\[\]()0-9]+）。是否已有服务在运行", err), err


# --- who chooses ---


@pytest.mark.parametrize(
    ("environ", "due"),
    [
        ({"MCP_ENDPOINT_LANG": "zh", "LANG": "en_US.UTF-8"}, "配置正确"),
        ({"LC_ALL": "zh_CN.UTF-8", "MCP_ENDPOINT_BROKER__LANGUAGE": "en"}, "配置正确"),
        ({"LANG": "de_DE.UTF-8"}, "good"),
        ({"LANG": "C.UTF-8"}, "配置正确"),
        ({"LANG": "C.UTF-8", "MCP_ENDPOINT_BROKER__LANGUAGE": "en"}, "good"),
        ({}, "配置正确"),
    ],
)
def test_who_chooses_where_no_option_does(run: Run, environ: dict[str, str], due: str) -> None:
    code, out, err = run(["check-config"], **environ)
    assert (code, err) == (0, "")
    assert due in out
    assert "MCP_ENDPOINT_LANG" not in out, "it is no unknown setting"


@pytest.mark.parametrize("line", ["check-config", "nonsense", "--help", f"tools {NOBODY}"])
def test_the_settings_choose_where_the_locale_says_nothing(run: Run, tmp_path: Path, line: str) -> None:
    path = tmp_path / "own.cfg"
    for language, one in (("en", no_chinese), ("zh", no_pair)):
        # However the rest of them is.
        path.write_text(f"[broker]\nlanguage = {language}\n[server]\nkey = {KEY}\nport = x\n")
        _, out, err = run(["--config", str(path), *line.split()])
        assert one(out + err)


def test_without_settings_a_command_of_the_broker_is_chinese_and_one_of_its_clients_english(
    run: Run, tmp_path: Path
) -> None:
    absent = ["--config", str(tmp_path / "absent.cfg")]
    assert no_pair(run([*absent, "urls"])[2])
    assert no_pair(run([*absent, "--help"])[1])
    assert no_chinese(run([*absent, "tools", NOBODY])[2])
    assert no_chinese(run([*absent, "pipe", "--help"])[1])
    # In a container the environment may be all the settings there are.
    assert no_chinese(run([*absent, "urls"], MCP_ENDPOINT_BROKER__LANGUAGE="en")[2])
    assert no_pair(run([*absent, "tools", NOBODY], MCP_ENDPOINT_BROKER__LANGUAGE="zh")[2])


@pytest.mark.parametrize("word", ["de", "", "zh_CN"])
def test_a_language_that_is_none_is_told_in_the_one_that_would_be_used(run: Run, word: str) -> None:
    for line in (["--lang", word, "urls"], ["urls", f"--lang={word}"], ["--lang", word, "--help"]):
        if line[-1] == "--help" and not word:
            continue
        for language, told in (("zh", "应为 zh 或 en\n"), ("en", "must be zh or en\n")):
            code, out, err = run(line, MCP_ENDPOINT_LANG=language)
            assert (code, out) == (2, "")
            assert err.endswith((f" {told}", f"：{told}"))


def test_a_variable_that_names_no_language_is_told_in_that_of_the_locale(run: Run) -> None:
    zh, en = "MCP_ENDPOINT_LANG = 'de'：应为 zh 或 en", "MCP_ENDPOINT_LANG = 'de': must be zh or en"
    for locale, told in (("zh_CN.UTF-8", zh), ("en_GB.UTF-8", en), ("C", f"{zh} / {en}")):
        assert run(["urls"], MCP_ENDPOINT_LANG="de", LC_ALL=locale) == (2, "", f"{told}\n")
    assert run(["urls", "--lang", "en"], MCP_ENDPOINT_LANG="de")[0] == 0
    assert run(["urls"], MCP_ENDPOINT_LANG="")[0] == 0


def test_what_stands_behind_the_dashes_is_another_programs(run: Run) -> None:
    code, out, _ = run(["pipe", NOBODY, "--lang", "zh", "--", "no-such-program", "--lang", "en"])
    assert code == 127
    assert "找不到程序 no-such-program" in out


# --- what is for programs stays ---


def test_what_doctor_says_as_json_is_in_both(run: Run) -> None:
    told = {}
    for language in ("zh", "en"):
        code, out, _ = run(["doctor", "--json", "--lang", language])
        told[language] = json.loads(out)
        assert told[language]["exit_code"] == code
    assert told["zh"] == told["en"]
    for one in told["en"]["checks"]:
        assert set(one) == {"check", "status", "zh", "en"}
        assert no_chinese(one["en"])
        assert no_pair(one["zh"])


def test_the_labels_of_the_tutorials_are_the_same_in_both(run: Run) -> None:
    lines = {}
    for language in ("zh", "en"):
        _, out, _ = run(["urls", "--lang", language])
        first, console, single, last = out.splitlines()
        lines[language] = [console, single]
        assert console.startswith(LABELS[0])
        assert single.startswith(LABELS[1])
        assert first.startswith("=====")
        assert last.endswith("=====")
    assert lines["zh"] == lines["en"]
