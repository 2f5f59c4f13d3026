"""The settings file as text: the dialect, the one line that is written, and saving it while others do the same."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.settings import file as settings_file
from mcp_endpoint.settings import load as settings_module
from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import prepare, shipped_file
from support.paths import SRC

HERE = Path("FILE")
POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX file modes")


def value(line: str) -> str:
    return settings_file.parse(f"[s]\n{line}", HERE).entries["s", "k"].value


@pytest.mark.parametrize(
    ("line", "due"),
    [
        ("k = v", "v"),
        ("k=v", "v"),
        ("K: v", "v"),
        ("k", None),
        ("  k = v", "v"),
        ("k =", ""),
        ("k = # comment", ""),
        ("k = a # b # c", "a"),
        ("k = a\t# b", "a"),
        ("k = a\u3000# b", "a"),
        ("k = a#b", "a#b"),
        ("k =#b", "#b"),
        ("k = a ; b", "a ; b"),
        ("k = 50%", "50%"),
        ("k = %(host)s ${x}", "%(host)s ${x}"),
        ("k = a = b : c", "a = b : c"),
        ('k = "a # b"', "a # b"),
        ('k = " a "  # c', " a "),
        ('k = ""', ""),
        ('k = a"b"', 'a"b"'),
        ("k = 'a'", "'a'"),
    ],
)
def test_a_value(line: str, due: str | None) -> None:
    if due is None:
        with pytest.raises(SettingsError, match="line 2 is neither"):
            value(line)
    else:
        assert value(line) == due
        assert value(f"{line}\r\n") == due


def test_sections_and_comments() -> None:
    text = "\ufeff# c\n; c\n\n  # c\n[ Server ]  # c\nHost = a\n\n  [x]\n  a = 1\n  # c\n  b = 2\n"
    document = settings_file.parse(text, HERE)
    assert document.sections == {"server": 5, "x": 8}
    assert {name: (entry.value, entry.line) for name, entry in document.entries.items()} == {
        ("server", "host"): ("a", 6),
        ("x", "a"): ("1", 9),
        ("x", "b"): ("2", 11),
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("k = v", "FILE: line 1 stands before the first [section]"),
        ("[s]\nk = 1\nK = 2", "FILE: line 3 sets [s] k again (first: line 2); keep one of them"),
        ("[s]\n[t]\n[S]", "FILE: line 3 has section [s] again (first: line 1)"),
        ("[s\n", "FILE: line 1 is neither [section], key = value nor a # comment"),
        ("[s] x", "FILE: line 1 has text after the closing quote or bracket"),
        ("[s]\nSECRET", "FILE: line 2 is neither [section], key = value nor a # comment"),
        ("[s]\nk SECRET = v", "FILE: line 2 is neither"),
        ("[s]\n= v", "FILE: line 2 is neither"),
        ("[s]\nk ＝ SECRET", "FILE: line 2 is neither [section], key = value (with the ASCII = sign) nor"),
        ('[s]\nk = "SECRET', "FILE: line 2 has a value without its closing quote"),
        ('[s]\nk = "a"SECRET', "FILE: line 2 has text after the closing quote"),
        ('[s]\nk = "a"#SECRET', "FILE: line 2 has text after the closing quote"),
        ("[s]\nk = a,\n  SECRET", "FILE: line 3 is indented deeper than the key above; one key is one line"),
        ("[s]\nk = a\rSECRET\n", "FILE: line 2 has a control character"),
        ("[s]\nk = a\x00", "FILE: line 2 has a control character"),
    ],
)
def test_bad_syntax_is_one_line_with_its_number_and_without_its_text(text: str, line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_file.parse(text, HERE)
    assert str(caught.value).startswith(line)
    number = line.split()[2]
    assert caught.value.told.zh.startswith(f"FILE：第 {number} 行")
    for told in caught.value.told:
        assert "SECRET" not in told
        assert len(told.splitlines()) == 1


def test_a_path_cannot_break_the_line() -> None:
    error = SettingsError("a\nb\x1b\u2028", "c", "丙")
    assert str(error) == error.told.en == "a\\nb\\x1b\\u2028: c"
    assert error.told.zh == "a\\nb\\x1b\\u2028：丙"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[server]\n# 密钥\n".encode("gb18030"), "line 2 is not UTF-8; save the file as UTF-8"),
        ("[server]\n".encode("utf-16"), "line 1 is not UTF-8"),
    ],
)
def test_a_file_in_another_encoding_says_so(tmp_path: Path, content: bytes, line: str) -> None:
    path = tmp_path / "x.cfg"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        settings_file.read(path)
    assert str(caught.value).startswith(f"{path}: {line}")


# ------------------------------------------------------------------------------------------------ the line written


def keyed(text: str) -> str:
    return settings_file.with_key(text, settings_file.parse(text, HERE), "KEY")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[server]\nport = 1\n", "[server]\nkey = KEY\nport = 1\n"),
        ("[server]", "[server]\nkey = KEY"),
        ("\ufeff[server]\r\nport = 1\r\n", "\ufeff[server]\r\nkey = KEY\r\nport = 1\r\n"),
        ("[server]\nport = 1\n# key =  # k\nhost = a\n", "[server]\nport = 1\n# key =  # k\nkey = KEY\nhost = a\n"),
        ("[a]\n# key = 1\n[server]\n[b]\n# key = 1\n", "[a]\n# key = 1\n[server]\nkey = KEY\n[b]\n# key = 1\n"),
        ("[server]\nport = 1\n# key =", "[server]\nport = 1\n# key =\nkey = KEY"),
        ("[server]\nkey =\n", "[server]\nkey = KEY\n"),
        ("[server]\nKey =   # c\n", "[server]\nKey = KEY   # c\n"),
        ('[server]\nkey = "" # c\n', "[server]\nkey = KEY # c\n"),
        ('\ufeff[server]\r\n  key: " "\r\nport = 1', "\ufeff[server]\r\n  key: KEY\r\nport = 1"),
        ("", "[server]\nkey = KEY\n"),
        ("[a]\r\nb = 1", "[a]\r\nb = 1\r\n[server]\r\nkey = KEY\r\n"),
    ],
)
def test_one_line_is_written(before: str, after: str) -> None:
    assert keyed(before) == after


SPACE = st.sampled_from(["", " ", "\t", "\u3000"])
WORD = st.text("abc%#;\"'=：: 密", max_size=12).filter(lambda word: not word.strip().startswith('"'))
COMMENT = st.builds("{0}{1}{2}".format, SPACE, st.sampled_from("#;"), WORD)
SETTING = st.builds("{0} ={1}{2}".format, st.sampled_from([f"name{n}" for n in range(50)]), SPACE, WORD)
EMPTY_KEY = st.builds("key{0}={1}{2}".format, SPACE, SPACE, st.sampled_from(["", " # c", '""', '" " # c']))
LINES = st.lists(COMMENT | SPACE | SETTING, max_size=6)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A settings text with a [server] section among others, and no key or an empty one in it."""

    def unique(lines: list[str]) -> list[str]:
        names = [line.split("=")[0] for line in lines]
        return [
            line for n, line in enumerate(lines) if names[n] not in names[:n] or line.lstrip()[:1] in ("", "#", ";")
        ]

    lines = draw(st.lists(COMMENT | SPACE, max_size=3))
    lines += ["[first]", *unique(draw(LINES))] if draw(st.booleans()) else []
    lines += [draw(st.sampled_from(["[server]", "[SERVER] # c", " [ server ]"])), *unique(draw(LINES))]
    lines += [draw(EMPTY_KEY)] if draw(st.booleans()) else []
    lines += ["[last]", *unique(draw(LINES))] if draw(st.booleans()) else []
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return draw(st.sampled_from(["", "\ufeff"])) + end.join(lines) + draw(st.sampled_from(["", end]))


@given(texts())
def test_whatever_the_file_one_line_is_new_and_all_else_stays(before: str) -> None:
    told = settings_file.parse(before, HERE)
    after = keyed(before)
    again = settings_file.parse(after, HERE)
    assert again.entries["server", "key"].value == "KEY"
    others = {name: entry.value for name, entry in told.entries.items() if name != ("server", "key")}
    assert {name: entry.value for name, entry in again.entries.items() if name != ("server", "key")} == others
    old, new = before.split("\n"), after.split("\n")
    line = again.entries["server", "key"].line - 1
    if ("server", "key") in told.entries:
        assert (old[:line], old[line + 1 :]) == (new[:line], new[line + 1 :])
        assert new[line].replace("KEY", "").split("#")[1:] == old[line].split("#")[1:]
    else:
        assert new[line].removesuffix("\r") == "key = KEY"
        rest = new[:line] + new[line + 1 :]
        # behind a last line without an end, that line got one
        assert [text.removesuffix("\r") for text in rest] == [text.removesuffix("\r") for text in old]
        assert len(after) - len(before) == len("key = KEY\n") + ("\r\n" in after)


# ---------------------------------------------------------------------------------------------------------- saving


def test_the_old_file_is_replaced_and_never_written_into(tmp_path: Path) -> None:
    path, old = tmp_path / "x.cfg", tmp_path / "old"
    path.write_text("[server]\n")
    os.link(path, old)
    prepare(path, {})
    assert old.read_text() == "[server]\n"
    assert "key = " in path.read_text()
    assert sorted(os.listdir(tmp_path)) == ["old", "x.cfg"]


@POSIX
def test_a_written_file_is_private_whatever_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text("[server]\n")
    path.chmod(0o666)
    prepare(path, {})
    assert path.stat().st_mode & 0o777 == 0o600


@POSIX
def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "x.cfg"
    link.symlink_to(tmp_path / "real" / "y.cfg")
    key = prepare(link, {}).settings.server.key
    assert link.is_symlink()
    assert f"key = {key}" in (tmp_path / "real" / "y.cfg").read_text()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may give a file away")
def test_the_owner_of_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text("[server]\n")
    os.chown(path, 65534, 65533)
    prepare(path, {})
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)


def test_a_failed_replace_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "x.cfg" / "full").mkdir(parents=True)
    with pytest.raises(SettingsError, match="cannot be written"):
        settings_file.write(tmp_path / "x.cfg", "[server]\n")
    assert os.listdir(tmp_path) == ["x.cfg"]


@contextmanager
def unprivileged_folder() -> Iterator[Path]:
    """A folder that others own, entered as somebody without rights, also where the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "x.cfg").write_text("[server]\n")
        (folder / "x.cfg").chmod(0o644)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65534)
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


@POSIX
@pytest.mark.parametrize("name", ["x.cfg", "new.cfg", "sub/new.cfg"])
def test_a_folder_that_cannot_be_written_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = shipped_file().read_text("utf-8")
    with unprivileged_folder() as folder, tempfile.TemporaryDirectory() as public:
        # The tests may lie where that user cannot look.
        copy = Path(public, "shipped.cfg")
        copy.write_text(shipped, "utf-8")
        monkeypatch.setattr(settings_module, "shipped_file", lambda: copy)
        with pytest.raises(SettingsError) as caught:
            prepare(folder / name, {})
        line = f"{folder / name}: Permission denied: cannot be written; make its folder writable for this user"
        assert str(caught.value).startswith(line)
        assert "：无法写入；" in caught.value.told.zh
        assert caught.value.told.zh.endswith("（Permission denied）")
        assert (folder / "x.cfg").read_text() == "[server]\n"
        assert os.listdir(folder) == ["x.cfg"]


@POSIX
def test_a_folder_that_cannot_be_written_is_enough_once_there_is_a_key() -> None:
    with unprivileged_folder() as folder:
        assert prepare(folder / "x.cfg", {"MCP_ENDPOINT_SERVER__KEY": "k"}).settings.server.key == "k"


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        prepare(tmp_path, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"file.x\.cfg: Not a directory: cannot be (read|written)"):
        prepare(tmp_path / "file" / "x.cfg", {})


@POSIX
def test_a_lock_kept_by_another_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    with settings_file.locked(path):
        with pytest.raises(SettingsError) as caught, settings_file.locked(path, timeout=0.05):
            pytest.fail("two hold the lock")
        assert str(caught.value).startswith(f"{path}: another process has kept its folder locked for 0.05 s")
    with settings_file.locked(path, timeout=0.05):
        assert tmp_path.exists()


STARTS = """
import sys
from pathlib import Path
from mcp_endpoint.settings.load import prepare
for line in sys.stdin:
    print(prepare(Path(line.strip()), {}).settings.server.key, flush=True)
"""


@pytest.mark.parametrize("before", [None, "[server]\nkey =\n"])
def test_processes_that_start_at_once_end_with_one_key(tmp_path: Path, before: str | None) -> None:
    environ = os.environ | {"PYTHONPATH": str(SRC)}
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", STARTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )
        for _ in range(3)
    ]
    try:
        for number in range(40):
            path = tmp_path / str(number) / "x.cfg"
            if before is not None:
                path.parent.mkdir()
                path.write_text(before)
            for start in starts:
                assert start.stdin
                start.stdin.write(f"{path}\n")
                start.stdin.flush()
            keys = {start.stdout.readline().strip() for start in starts if start.stdout}
            assert len(keys) == 1
            assert f"key = {keys.pop()}\n" in path.read_text()
            assert os.listdir(path.parent) == ["x.cfg"]
    finally:
        for start in starts:
            start.communicate(timeout=60)
