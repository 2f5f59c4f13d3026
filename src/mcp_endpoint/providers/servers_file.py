"""The `mcpServers` JSON file that desktop hosts use: read whole, with what is wrong told in one line.

`pipe --servers` bridges its servers to an endpoint; the broker opens those of `data/mcp_servers.json` itself.
"""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from mcp_endpoint.providers.server_entry import BadEntry, Server, read_entry
from mcp_endpoint.redaction import quote_peer

FORM = '{"mcpServers": {"NAME": {"command": "…", "args": []}}}'


class UnusableFile(ValueError):
    """The file cannot be used; the message is one line: file, place, what is wrong, what is allowed."""

    def __init__(self, path: Path, where: str, en: str, zh: str) -> None:
        place = f": {where}" if where else ""
        super().__init__(quote_peer(f"{path}{place}", 300) + f": {en} / {zh}")


def read_servers(path: Path) -> list[Server]:
    """The servers that the file at `path` lists, in its order. Raises UnusableFile."""
    servers = []
    for name, entry in listed(read_document(path), path).items():
        try:
            servers.append(read_entry(name, entry))
        except BadEntry as error:
            place = f'server "{name}"' + (f", {error.member}" if error.member else "")
            raise UnusableFile(path, place, error.en, error.zh) from None
    return servers


def listed(document: Any, path: Path) -> dict[str, Any]:
    """The member `mcpServers` of a document. Raises UnusableFile."""
    found = document.get("mcpServers") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise UnusableFile(
            path, "", f"has no object mcpServers; it must look like {FORM}", f"缺少 mcpServers，应为 {FORM}"
        )
    return found


def read_document(path: Path) -> Any:
    """The JSON in the file at `path`; no name may stand in an object twice. Raises UnusableFile."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableFile(
            path, "", f"byte {error.start + 1} is not UTF-8; save the file as UTF-8", "不是 UTF-8 编码，请另存为 UTF-8"
        ) from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UnusableFile(path, "", f"cannot be read: {why}", f"无法读取：{why}") from None

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # json would keep the last of two servers with one name, and nobody would know where the other went.
        found = dict(pairs)
        if len(found) < len(pairs):
            name = next(name for index, (name, _) in enumerate(pairs) if name in dict(pairs[:index]))
            raise UnusableFile(path, f'"{name}"', "stands there twice; rename or remove one", "重复出现，请改名或删除")
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        hint = "no comments and no comma after the last entry are allowed"
        raise UnusableFile(
            path, place, f"is not JSON ({error.msg}); {hint}", "不是有效的 JSON；不允许注释，最后一项后不能有逗号"
        ) from None
    except RecursionError:
        raise UnusableFile(path, "", "is nested too deeply", "嵌套过深") from None


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file (or what lies in the folder) at `path` does; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def write_document(path: Path, document: Any) -> None:
    """Write JSON in place of the file, whole or not at all, for its owner alone. Raises OSError."""
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # it is 0600
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
