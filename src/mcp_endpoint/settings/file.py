"""The settings file as text: its INI dialect, the one line that is ever written into it, and how that is saved.

The dialect: UTF-8 with or without BOM; `[section]`, `key = value` (or `:`), names in any case; a line
that begins with `#` or `;` is a comment, and so is what follows white space + `#`; a value in double quotes is taken as
it stands; nothing is interpolated. Own code instead of configparser, which can do neither the comment rule nor the
quotes, takes an indented line for part of the value above, and cannot write without losing every comment.
"""

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mcp_endpoint.language import Bilingual

if sys.platform != "win32":
    import fcntl

_COMMENT = re.compile(r"\s#")
_SECTION = re.compile(r"\[\s*([^\[\]]*?)\s*\](.*)")
_ENTRY = re.compile(r"([^\s=:]+)\s*[=:](.*)")
_LEFT_OUT = re.compile(r"\s*[#;]\s*key\s*[=:]", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class SettingsError(Exception):
    """The settings cannot be used. `told` is one line for the user: where, what is wrong, what is allowed.

    `str()` is its English, as the log has it.
    """

    def __init__(self, where: object, en: str, zh: str) -> None:
        self.told = remark(where, en, zh)
        super().__init__(self.told.en)


def remark(where: object, en: str, zh: str) -> Bilingual:
    """A line about the settings; `where` is the same in both languages, or a `Bilingual`."""
    place = where if isinstance(where, Bilingual) else Bilingual(str(where), str(where))
    return Bilingual(_one_line(f"{place.zh}：{zh}"), _one_line(f"{place.en}: {en}"))


def place(path: Path, line: int, name: str) -> Bilingual:
    """Where something stands in the file; `name` is the section or key."""
    return Bilingual(f"{path} 第 {line} 行 {name}", f"{path}: line {line}: {name}")


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Entry:
    """One `key = value` line: the value, its line (from 1), and where in the text it stands, quotes included."""

    value: str = field(repr=False)
    line: int
    start: int
    end: int


@dataclass
class Document:
    """What a settings text says: the line of each section header, and the entries by (section, key) in lower case.

    A section of two words, such as `[agent Küche]`, has only the first in lower case, and one space between them.
    """

    sections: dict[str, int] = field(default_factory=dict)
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)


def read(path: Path) -> str:
    """The file's text, a BOM and its line ends included. Raises SettingsError, or FileNotFoundError if it is absent."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _failed(path, error, "cannot be read", "无法读取") from None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            path,
            f"line {line} is not UTF-8; save the file as UTF-8",
            f"第 {line} 行不是 UTF-8 编码，请把文件另存为 UTF-8",
        ) from None


def parse(text: str, path: Path) -> Document:
    """The sections and entries of `text`. Raises SettingsError with the line's number, never its text (the key)."""
    document = Document()
    section: str | None = None
    indent: int | None = None  # of the entry above; None where no entry can be continued
    position = 0
    for number, ended in enumerate(text.split("\n"), 1):
        start, position = position, position + len(ended) + 1
        line = ended.removesuffix("\r")
        if number == 1 and line.startswith("\ufeff"):
            start, line = start + 1, line[1:]
        body = line.strip()
        if not body or body[0] in "#;":
            continue
        margin = len(line) - len(line.lstrip())
        if _CONTROL.search(line):
            raise _bad(path, number, "has a control character; remove it", "含有控制字符，请删除")
        if header := _SECTION.fullmatch(body):
            section, indent = _section(header[1]), None
            _only_comment(header[2], path, number)
            if section in document.sections:
                first = document.sections[section]
                raise _bad(
                    path,
                    number,
                    f"has section [{section}] again (first: line {first})",
                    f"重复了第 {first} 行的节 [{section}]",
                )
            document.sections[section] = number
            continue
        if indent is not None and margin > indent:
            en = "is indented deeper than the key above; one key is one line, all of them equally far to the left"
            raise _bad(path, number, en, "比上一行缩进更深；每个键只占一行，且缩进一致")
        entry = _ENTRY.fullmatch(body)
        if entry is None:
            full_width = "＝" in body or "：" in body
            hint = (" (with the ASCII = sign)", "（请使用半角等号）") if full_width else ("", "")
            en = f"is neither [section], key = value{hint[0]} nor a # comment"
            raise _bad(path, number, en, f"既不是 [节]、键 = 值{hint[1]}，也不是 # 注释")
        if section is None:
            raise _bad(path, number, "stands before the first [section]", "出现在第一个 [节] 之前")
        key, indent = entry[1].lower(), margin
        if (section, key) in document.entries:
            first = document.entries[section, key].line
            en = f"sets [{section}] {key} again (first: line {first}); keep one of them"
            raise _bad(path, number, en, f"重复设置了第 {first} 行的 [{section}] {key}，请只保留一处")
        value, begin, end = _value(entry[2], path, number)
        offset = start + margin + entry.start(2)
        document.entries[section, key] = Entry(value, number, offset + begin, offset + end)
    return document


def _section(header: str) -> str:
    """The first word in lower case; what follows it is a name of the user's (`[agent Küche]`), and stays as it is."""
    word, *name = header.split(None, 1)[:2] or [""]
    return " ".join([word.lower(), *name])


def _value(rest: str, path: Path, number: int) -> tuple[str, int, int]:
    """The value in what follows the `=`, and its begin and end there; an absent one stands right behind the `=`."""
    begin = len(rest) - len(rest.lstrip())
    if rest[begin:].startswith('"'):
        close = rest.find('"', begin + 1)
        if close < 0:
            raise _bad(path, number, "has a value without its closing quote", "的值缺少右引号")
        _only_comment(rest[close + 1 :], path, number)
        return rest[begin + 1 : close], begin, close + 1
    comment = _COMMENT.search(rest)
    value = rest[: comment.start() if comment else len(rest)].strip()
    return (value, begin, begin + len(value)) if value else ("", 0, 0)


def _only_comment(rest: str, path: Path, number: int) -> None:
    if rest.strip() and not (rest[0].isspace() and rest.lstrip().startswith("#")):
        en = "has text after the closing quote or bracket; only white space and a # comment may follow"
        raise _bad(path, number, en, "在右引号或右方括号之后还有文字；其后只能是空白加 # 注释")


def _bad(path: Path, line: int, en: str, zh: str) -> SettingsError:
    return SettingsError(path, f"line {line} {en}", f"第 {line} 行{zh}")


def with_key(text: str, document: Document, key: str) -> str:
    """`text` with `[server] key` set: an empty value is filled, else one line goes in below `# key = …` or `[server]`.

    Every other byte stays. Without a [server] section, one is added at the end.
    """
    entry = document.entries.get(("server", "key"))
    if entry is not None:
        space = " " if entry.start == entry.end else ""
        return f"{text[: entry.start]}{space}{key}{text[entry.end :]}"
    lines = text.split("\n")
    ending = "\r\n" if lines[0].endswith("\r") else "\n"
    header = document.sections.get("server")
    if header is None:
        gap = "" if not text or text == "\ufeff" or text.endswith("\n") else ending
        return f"{text}{gap}[server]{ending}key = {key}{ending}"
    following = [line for line in document.sections.values() if line > header]
    section = range(header, min(following, default=len(lines) + 1) - 1)
    below = next((index for index in section if _LEFT_OUT.match(lines[index])), header - 1)
    if below == len(lines) - 1:  # the last line, without an end of its own
        return f"{text}{ending}key = {key}"
    lines.insert(below + 1, f"key = {key}" + ending[:-1])
    return "\n".join(lines)


@contextmanager
def locked(path: Path, timeout: float = 10.0) -> Iterator[None]:
    """Alone with the settings at `path`, whose folder is made if need be: two first starts at once end with one key.

    The lock ends with the process, however that ends. Raises SettingsError, also if another keeps it for `timeout` s.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(path.parent, time.monotonic() + timeout)
    except TimeoutError:
        en = f"another process has kept its folder locked for {timeout:g} s; end that process or try again"
        raise SettingsError(path, en, f"所在目录被另一个进程锁定超过 {timeout:g} 秒，请结束该进程或稍后再试") from None
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path, deadline: float) -> int:
    if sys.platform == "win32":
        while True:  # a folder cannot be opened here; a file that vanishes when it is closed does the same
            try:
                return os.open(folder / ".settings.lock", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY)
            except (FileExistsError, PermissionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    else:
        descriptor = os.open(folder, os.O_RDONLY)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise TimeoutError from None
                time.sleep(0.02)
            except OSError:  # a file system without locks: one broker at a time is the usual case, so go on
                return descriptor
            else:
                return descriptor


def write(path: Path, text: str) -> None:
    """Put `text` in place of the file at once and for good, mode 0600, its owner kept. Raises SettingsError."""
    target = Path(os.path.realpath(path))  # a link to the file stays a link
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.", suffix=".tmp")  # is 0600
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":
                with suppress(OSError):
                    before = os.stat(target)
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
        os.replace(name, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise
    if sys.platform != "win32":
        with suppress(OSError):  # the new name is durable once its folder is
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _unwritable(path: Path, error: OSError) -> SettingsError:
    en = "cannot be written; make its folder writable for this user (as a volume: mount the folder, not the file)"
    zh = "无法写入；请让当前用户可写其所在目录（使用卷时请挂载目录而不是单个文件）"
    return _failed(path, error, en, zh)


def _failed(path: Path, error: OSError, en: str, zh: str) -> SettingsError:
    why = error.strerror or type(error).__name__
    return SettingsError(path, f"{why}: {en}", f"{zh}（{why}）")
