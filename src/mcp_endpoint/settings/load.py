"""Reads the settings from their file and the environment, and makes both file and key at a first start."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from pydantic import ValidationError

from mcp_endpoint.language import Bilingual, Language
from mcp_endpoint.settings import file as settings_file
from mcp_endpoint.settings.file import Document, SettingsError
from mcp_endpoint.settings.schema import (
    AGENT_PREFIX,
    KEY_VARIABLE,
    LANGUAGE_VARIABLE,
    SECTIONS,
    SHIPPED_NAME,
    VARIABLES,
    BrokerSettings,
    Settings,
    keys_of,
    model_of,
)
from mcp_endpoint.settings.values import NotAllowedError
from mcp_endpoint.settings.warnings import surprising, unknown_in_file, unknown_variables
from mcp_endpoint.tokens import agent_ids


@dataclass(frozen=True)
class Loaded:
    """Settings and where they came from. `generated_key` is true only for the start that made the key."""

    settings: Settings
    path: Path
    warnings: list[Bilingual]
    generated_key: bool


def shipped_file() -> Path:
    """The commented settings that a first start copies: in the installed package, else at the top of the repository."""
    packaged = Path(__file__).parents[1] / SHIPPED_NAME
    return packaged if packaged.exists() else Path(__file__).parents[3] / SHIPPED_NAME


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """The settings of the file at `path` and of `environ`. Reads only. Raises SettingsError."""
    settings, warnings = _build(_read(path), path, environ)
    return Loaded(settings, path, warnings, generated_key=False)


def preview(path: Path, environ: Mapping[str, str]) -> Loaded:
    """As `prepare`, for a file that is there: what a start would say of it, and nothing is written."""
    _, settings, warnings, generate = _with_key(_read(path), path, environ)
    return Loaded(settings, path, warnings, generate)


def prepare(path: Path, environ: Mapping[str, str]) -> Loaded:
    """As `load`, for a start: makes the file from the shipped one if it is absent, and a key if there is none yet.

    Nothing is written when the settings are bad, and no key when `environ` has one. Raises SettingsError.
    """
    present = _read_if_there(path)
    if present is not None and _keyed(present, path, environ):
        return load(path, environ)
    with settings_file.locked(path):
        before = _read_if_there(path)  # again: another start may have been quicker
        text = _read(shipped_file()) if before is None else before
        text, settings, warnings, generate = _with_key(text, path, environ)
        if text != before:
            settings_file.write(path, text)
    return Loaded(settings, path, warnings, generate)


def language(path: Path, environ: Mapping[str, str]) -> Language | None:
    """`[broker] language`, however the other settings are; None if nothing says it and there is no file at `path`.

    What names no language is as if it were not there: whoever reads all of the settings tells that it is wrong.
    """
    written = ""
    default: Language | None = BrokerSettings().language
    try:
        text = _read_if_there(path)
        if text is None:
            default = None
        elif entry := settings_file.parse(text, path).entries.get(("broker", "language")):
            written = entry.value
    except SettingsError:
        pass
    word = environ.get(LANGUAGE_VARIABLE, written).strip().lower()
    return "zh" if word == "zh" else "en" if word == "en" else default


def _with_key(text: str, path: Path, environ: Mapping[str, str]) -> tuple[str, Settings, list[Bilingual], bool]:
    """The text with a new key if it has none, what it says, and whether the key is new.

    Before the key is put in, the rest is read once: an error has to give the numbers of the lines as they stand, since
    nothing is written then. A warning gives those of the text with the key.
    """
    generate = not _keyed(text, path, environ)
    if generate:
        key = secrets.token_hex(16)
        _build(text, path, {**environ, KEY_VARIABLE: key})
        text = settings_file.with_key(text, settings_file.parse(text, path), key)
    return text, *_build(text, path, environ), generate


def _read(path: Path) -> str:
    try:
        return settings_file.read(path)
    except FileNotFoundError:
        en = "there is no such settings file; start the broker once to have it made, or name another with --config"
        raise SettingsError(
            path, en, "配置文件不存在；请先启动一次服务以自动生成，或用 --config 指定其他文件"
        ) from None


def _read_if_there(path: Path) -> str | None:
    try:
        return settings_file.read(path)
    except FileNotFoundError:
        return None


def _keyed(text: str, path: Path, environ: Mapping[str, str]) -> bool:
    entry = settings_file.parse(text, path).entries.get(("server", "key"))
    return KEY_VARIABLE in environ or (entry is not None and bool(entry.value.strip()))


def _build(text: str, path: Path, environ: Mapping[str, str]) -> tuple[Settings, list[Bilingual]]:
    document = settings_file.parse(text, path)
    values: dict[str, dict[str, str]] = {
        section: {} for section in [*SECTIONS, *document.sections] if model_of(section) is not None
    }
    places: dict[tuple[str, str], Bilingual] = {}
    for (section, key), entry in document.entries.items():
        model = model_of(section)
        if model is not None and key in keys_of(model):
            values[section][key] = entry.value
            places[section, key] = settings_file.place(path, entry.line, f"[{section}] {key}")
    for variable, (section, key) in VARIABLES.items():
        if variable in environ:
            values[section][key] = environ[variable]
            places[section, key] = Bilingual(
                f"环境变量 {variable}：[{section}] {key}", f"environment variable {variable}: [{section}] {key}"
            )
    if KEY_VARIABLE not in environ and not values["server"].get("key", "").strip():
        en = "is missing or empty; start the broker once to have one generated, or write 'key = …' there"
        where = Bilingual(f"{path} [server] key", f"{path}: [server] key")
        raise SettingsError(where, en, "缺失或为空；请先启动一次服务以自动生成，或自行填写 key = …")
    try:
        agents = {name.removeprefix(AGENT_PREFIX): own for name, own in values.items() if name not in SECTIONS}
        settings = Settings.model_validate({name: values[name] for name in SECTIONS} | {"agents": agents})
    except ValidationError as error:
        raise _bad_value(error, values, places) from None
    _check_agents(settings, document, path)
    return settings, unknown_in_file(document, path) + unknown_variables(environ) + surprising(settings)


def _check_agents(settings: Settings, document: Document, path: Path) -> None:
    """Raises SettingsError for two sections of one agent, and for agents that have their tools from each other."""
    holders: dict[str, str] = {}
    for name in settings.agents:
        for id_ in agent_ids(name):
            first = holders.setdefault(id_, name)
            if first != name:
                where = settings_file.place(path, document.sections[AGENT_PREFIX + name], f"[{AGENT_PREFIX}{name}]")
                en = f"is the agent of [{AGENT_PREFIX}{first}] again; keep one of the two sections"
                raise SettingsError(where, en, f"与 [{AGENT_PREFIX}{first}] 是同一个智能体，请只保留一节")
    sources = {
        name: [holders.get(id_, id_) for source in agent.tools_from for id_ in agent_ids(source)]
        for name, agent in settings.agents.items()
    }
    try:
        TopologicalSorter(sources).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1][::-1]
        section = AGENT_PREFIX + circle[0]
        line = document.entries[section, "tools_from"].line
        where = settings_file.place(path, line, f"[{section}] tools_from")
        told = " → ".join(circle)
        en = f"goes round in a circle: {told}; take one of them out"
        raise SettingsError(where, en, f"形成了循环：{told}，请去掉其中一个") from None


def _bad_value(
    error: ValidationError, values: dict[str, dict[str, str]], places: dict[tuple[str, str], Bilingual]
) -> SettingsError:
    """The first bad value as one line. Of a URL the parts that may be secret are left out, of the key all."""
    first = error.errors()[0]
    *_, section, key = (str(part) for part in first["loc"][: 3 if first["loc"][0] == "agents" else 2])
    section = AGENT_PREFIX + section if first["loc"][0] == "agents" else section
    shown = re.sub(r"//[^/\s]*@", "//…@", re.sub(r"(?<=[?#]).+", "…", values[section][key]))
    shown = shown if len(shown) <= 80 else f"{shown[:80]}…"
    zh_value, en_value = ("（不显示）", "(hidden)") if key == "key" else (f"'{shown}'", f"'{shown}'")
    place = places[section, key]
    where = Bilingual(f"{place.zh} = {zh_value}", f"{place.en} = {en_value}")
    cause = first.get("ctx", {}).get("error")
    en, zh = (cause.en, cause.zh) if isinstance(cause, NotAllowedError) else (first["msg"], first["msg"])
    return SettingsError(where, f"allowed: {en}", f"可填的值：{zh}")
