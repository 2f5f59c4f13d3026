"""The settings read anew while links go on: what takes effect, what has to wait for a restart.

A file that is bad changes nothing. The log says in one line what changed, by name and never by value: values may be
secret, and the line is for whoever wants to know whether their edit was seen.
"""

from collections.abc import Callable, Iterable, Iterator

from loguru import logger

from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import Loaded
from mcp_endpoint.settings.schema import AgentSettings, Settings

AT_START_ONLY: dict[str, frozenset[str]] = {
    "server": frozenset({"host", "port", "key", "tls_cert", "tls_key"}),
    "logging": frozenset({"log_file", "max_file_size", "backup_count", "json_lines"}),
}
"""Section → fields that are read once: the listening socket, the secret of all tokens out there, and the log file."""


class Reload:
    """Calling it reads the settings again with `read`; each of `apply` is told of those that take effect now."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Loaded],
        apply: Iterable[Callable[[Settings], None]],
        stopping: Callable[[], bool],
    ) -> None:
        self._stopping = stopping
        self._settings = settings
        self._read = read
        self._apply = list(apply)

    def __call__(self) -> None:
        """Take over what can be taken over; nothing while the broker is being stopped."""
        if self._stopping():
            return
        try:
            loaded = self._read()
        except SettingsError as error:
            logger.warning("settings not reloaded, everything stays as it was: {}", error)
            return
        before, wanted = self._settings, loaded.settings
        after = self._settings = in_effect(before, wanted)
        for apply in self._apply:
            apply(after)
        for warning in loaded.warnings:
            logger.warning("{}", warning.en)
        logger.info("settings reloaded; changed: {}", ", ".join(changes(before, after)) or "nothing")
        if waiting := ", ".join(changes(after, wanted)):
            logger.warning("these settings changed in the file, but need a restart: {}", waiting)


def in_effect(before: Settings, wanted: Settings) -> Settings:
    """The wanted settings, but those that only a start reads as they were."""
    sections = {name: getattr(wanted, name) for name in Settings.model_fields}
    for section, fields in AT_START_ONLY.items():
        kept = {field: getattr(getattr(before, section), field) for field in fields}
        sections[section] = sections[section].model_copy(update=kept)
    return Settings(**sections)


def changes(before: Settings, after: Settings) -> Iterator[str]:
    """What differs, as `[section] key`."""
    for section in Settings.model_fields:
        if section != "agents":
            old, new = getattr(before, section), getattr(after, section)
            for field, about in type(old).model_fields.items():
                if getattr(old, field) != getattr(new, field):
                    yield f"[{section}] {about.alias or field}"
    for name in dict.fromkeys([*before.agents, *after.agents]):
        was, is_ = (_given(settings.agents.get(name)) for settings in (before, after))
        for key in AgentSettings.model_fields:
            if was.get(key) != is_.get(key):
                yield f"[agent {name}] {key}"


def _given(agent: AgentSettings | None) -> dict[str, object]:
    """What a section says; what it leaves to [broker] is not its own."""
    return {} if agent is None else agent.model_dump(exclude_unset=True)
