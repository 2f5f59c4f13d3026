"""Notes on this computer's disk, a folder for each agent: write them down by voice, find them again as files.

Serve it with:  python main.py pipe URL --python examples/tools/notes.py

They are kept in the folder `mcp-notes` in your home, or in the one that $NOTES_FOLDER names.
"""

import hashlib
import os
import re
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mcp_endpoint.tools import Context, ToolError, prompt, resource, tool

MOST_NOTES = 500  # of one agent
Title = Annotated[str, Field(min_length=1, max_length=60, description="标题 / the note's title")]
Text = Annotated[str, Field(min_length=1, max_length=20_000, description="内容 / what it says")]


def folder(agent: str) -> Path:
    """The folder of one agent, made if it is not there."""
    base = Path(os.environ.get("NOTES_FOLDER") or Path.home() / "mcp-notes")
    # An id is a text of somebody else's: nothing of it may be a path.
    own = re.sub(r"[^A-Za-z0-9-]", "_", agent)[:64] or "everybody"
    path = base / own
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def file_of(agent: str, title: str) -> Path:
    """Where the note with this title is, or would be."""
    shown = re.sub(r"[^\w\u4e00-\u9fff -]", "_", title.strip())[:40].strip() or "note"
    mark = hashlib.sha256(title.strip().encode()).hexdigest()[:8]
    return folder(agent) / f"{shown}-{mark}.md"


def write(path: Path, text: str) -> None:
    """Put the text there in one step: a note is never half written."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


def read_all(agent: str) -> list[tuple[str, str]]:
    """Titles and texts of all notes, the newest first."""
    files = sorted(folder(agent).glob("*.md"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    texts = [path.read_text("utf-8") for path in files]
    return [(text.partition("\n")[0].removeprefix("# "), text.partition("\n\n")[2]) for text in texts]


@tool(title="记笔记 / Write a note", destructive=False)
def note_write(title: Title, text: Text, ctx: Context, append: bool = True) -> str:
    """记下一条笔记；同名的笔记默认在末尾追加。 Write a note; one of the same title is added to.

    Args:
        append: false 表示覆盖原有内容 / false replaces what it said
    """
    title = " ".join(title.split())
    path = file_of(ctx.agent, title)
    before = path.read_text("utf-8") if append and path.exists() else f"# {title}\n\n"
    if not path.exists() and len(list(path.parent.glob("*.md"))) >= MOST_NOTES:
        raise ToolError(f"笔记已满 {MOST_NOTES} 条，请先删除一些。 / There are {MOST_NOTES} notes; delete some first.")
    if len(before) > 100_000:
        raise ToolError("这条笔记太长了，请换一个标题。 / This note is too long; begin another one.")
    write(path, f"{before.rstrip()}\n\n{text.strip()}\n")
    return f"已记下“{title}”。 / Written: {title} ({datetime.now():%Y-%m-%d %H:%M})."


@tool(title="读笔记 / Read a note", read_only=True)
def note_read(title: Title, ctx: Context) -> str:
    """读出一条笔记。 Read a note."""
    path = file_of(ctx.agent, " ".join(title.split()))
    if not path.exists():
        known = "、".join(name for name, _ in read_all(ctx.agent)[:20]) or "-"
        raise ToolError(f"没有笔记“{title}”。现有：{known}。 / There is no such note; there are: {known}.")
    return path.read_text("utf-8").partition("\n\n")[2].strip()


@tool(title="找笔记 / Find notes", read_only=True)
def note_find(
    ctx: Context, words: Annotated[str, Field(max_length=100, description="要找的词，空为全部 / words, or all")] = ""
) -> list[str]:
    """按词查找笔记，返回标题。 Find notes whose title or text has all the words; returns titles, the newest first."""
    wanted = words.lower().split()
    return [title for title, text in read_all(ctx.agent) if all(word in f"{title}\n{text}".lower() for word in wanted)]


@tool(title="删笔记 / Delete a note", destructive=True)
def note_delete(title: Title, ctx: Context) -> str:
    """删除一条笔记。 Delete a note."""
    path = file_of(ctx.agent, " ".join(title.split()))
    if not path.exists():
        raise ToolError(f"没有笔记“{title}”。 / There is no note {title}.")
    path.unlink()
    return f"已删除“{title}”。 / Deleted: {title}."


@resource("notes://folder", title="笔记所在的文件夹 / Where notes are kept")
def where() -> str:
    """The folder in which each agent has its own."""
    return str(folder("").parent)


@prompt(title="整理笔记 / Sum up a note")
def summary(title: str) -> str:
    """Ask for the main points of a note."""
    return (
        f"请用 note_read 读出笔记“{title}”，再用三句话概括。 / Read the note with note_read and give its main points."
    )
