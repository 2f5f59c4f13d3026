"""The `mcpServers` JSON file that desktop hosts use. What is wrong with one entry is told of that one alone.

`pipe --servers` bridges its servers to an endpoint; the broker opens those of `data/mcp_servers.json` itself.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.entries.entry import LONGEST_NAME, Server, faulty, read_entry
from mcp_endpoint.providers.entries.json_file import Members, UnusableJson, read_json
from mcp_endpoint.providers.entries.members import BadEntry

SERVERS = "mcp_servers.json"
"""The file beside the settings that lists the servers the broker opens itself."""
FORM = '{"mcpServers": {"NAME": {"command": "…", "args": []}}}'
_LISTS = ("mcpservers", "servers", "contextservers", "mcp")
"""Members that hold the list of servers, however they are spelled: of most programs, VS Code, Zed, and opencode."""
_ENTRY = ("command", "url", "serverUrl", "httpUrl", "baseUrl", "openapi", "python")
"""Members by which an object is known to be a server."""


class UnusableFile(ValueError):
    """The file cannot be used. `told` is one line: file, place, what is wrong, what is allowed; `str()` its English."""

    def __init__(self, path: Path, where: Bilingual | None, en: str, zh: str) -> None:
        """`where` in the file; None for all of it."""
        place = Bilingual(f"{path}：{where.zh}", f"{path}: {where.en}") if where else Bilingual(str(path), str(path))
        self.told = Bilingual(f"{quote_peer(place.zh, 300)}：{zh}", f"{quote_peer(place.en, 300)}: {en}")
        super().__init__(self.told.en)


def read_servers(path: Path) -> list[Server]:
    """The servers that the file at `path` lists, in its order; those that cannot be used say why (`Server.fault`).

    Raises UnusableFile where the file as a whole cannot be read.
    """
    found = listed(read_document(path), path)
    twice = found.twice if isinstance(found, Members) else ()
    return [_server(name, entry, name in twice) for name, entry in found.items() if not _is_remark(name, entry)]


def _server(name: str, entry: object, twice: bool) -> Server:
    shown = name.encode(errors="replace").decode()[:LONGEST_NAME]  # half a character could be written nowhere
    try:
        if twice:
            raise BadEntry("", "stands there twice; rename or remove one", "重复出现，请改名或删除其一")
        for place, name_twice in _repeated(entry):
            where = f"{place}.{name_twice}" if place else name_twice
            raise BadEntry(where, "stands there twice; remove one", "重复出现，请删除其一")
        if shown != name and len(name) <= LONGEST_NAME:
            raise BadEntry("", "its name has half of a character", "名称含有半个字符")
        return read_entry(name, entry)
    except BadEntry as error:
        return faulty(shown, entry, error)


def _is_remark(name: str, entry: object) -> bool:
    """Whether a member is no server, but what people write in place of a comment."""
    return isinstance(entry, str) and name.startswith(("//", "_", "#", "$"))


def _repeated(value: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """The names that stand twice in an object of an entry, and where that is."""
    if isinstance(value, Members) and depth < 4:
        for name in value.twice:
            yield place, name
        for name, one in value.items():
            yield from _repeated(one, f"{place}.{name}" if place else name, depth + 1)


def listed(document: Any, path: Path) -> dict[str, Any]:
    """The object of a document that has the servers, by whatever name programs call it. Raises UnusableFile."""
    members = document if isinstance(document, dict) else {}
    spelled = {name.replace("_", "").replace("-", "").lower(): name for name in reversed(members)}
    for name in (spelled[known] for known in _LISTS if known in spelled):
        found = members[name]
        if name == "mcp" and isinstance(found, dict) and isinstance(found.get("servers"), dict):
            found = found["servers"]  # VS Code's settings
        if isinstance(found, list) and (not found or any(isinstance(one, dict) for one in found)):
            members[name] = found = _by_name(found)
        if isinstance(found, dict) and not _is_entry(found):
            return found
    if members and all(isinstance(one, dict) and any(word in one for word in _ENTRY) for one in members.values()):
        return members  # the list alone
    en, zh = f"has no object mcpServers; it must look like {FORM}", f"缺少 mcpServers，应为 {FORM}"
    raise UnusableFile(path, None, en, zh)


def _is_entry(found: Mapping[str, object]) -> bool:
    """Whether an object is one server, where a list of them could stand."""
    return any(isinstance(found.get(word), str) for word in _ENTRY)


def _by_name(entries: Sequence[object]) -> Members:
    """Entries that have their names in themselves (Continue); written back, they have the form of all others."""
    pairs: list[tuple[str, object]] = []
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            pairs.append((entry["name"], {key: one for key, one in entry.items() if key != "name"}))
        else:
            pairs.append(("", entry))
    found = Members(pairs)
    counted = Counter(name for name, _ in pairs if name)
    found.twice = tuple(name for name, count in counted.items() if count > 1)
    return found


def _object(document: Any) -> Any:
    """The document; a list of entries alone becomes the member that it stands for."""
    return {"mcpServers": document} if document and isinstance(document, list) else document


def read_document(path: Path) -> Any:
    """The JSON in the file at `path`. Raises UnusableFile."""
    try:
        return _object(read_json(path).document)
    except UnusableJson as error:
        raise UnusableFile(path, error.where, error.en, error.zh) from None
    except RecursionError:
        raise UnusableFile(path, None, "is nested too deeply", "嵌套过深") from None


def document_to_change(path: Path) -> Any:
    """The JSON in a file that is to be written again: what would be lost by that is refused. Raises UnusableFile."""
    try:
        read = read_json(path)
    except (UnusableJson, RecursionError):
        read_document(path)
        raise
    if not read.plain:
        en = "has comments or trailing commas, which would be lost: change it by hand"
        raise UnusableFile(path, None, en, "含有注释或多余的逗号，改写会丢失：请手工修改")
    for place, name in _repeated(read.document):
        where = f"{place}.{name}" if place else name
        en, zh = "stands there twice; rename or remove one", "重复出现，请改名或删除"
        raise UnusableFile(path, Bilingual(f"“{where}”", f'"{where}"'), en, zh)
    return _object(read.document)


def stamp_of(path: Path) -> tuple[int, ...] | None:
    """What changes when the file (or the folder) at `path` does, or who may read it; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_uid


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
