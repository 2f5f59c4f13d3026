"""The command `check-config`: what a start would say of the settings, without one."""

from collections.abc import Mapping
from pathlib import Path

from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.settings.load import preview
from mcp_endpoint.tls import certificate


def check_config(path: Path, home: Path, environ: Mapping[str, str], terminal: Terminal, *, named: bool) -> int:
    """Check the file at `path`, which must be there if it was `named`; paths in it lie in `home`.

    Raises SettingsError for what a start would refuse.
    """
    if not named and not path.exists():
        terminal.say(
            Bilingual(f"{path}：尚不存在，首次启动时自动生成。", f"{path}: not there yet; the first start makes it.")
        )
        return 0
    loaded = preview(path, environ)
    certificate(loaded.settings, home)
    for warning in loaded.warnings:
        terminal.say(warning)
    terminal.say(Bilingual(f"{path}：配置正确。", f"{path}: good."))
    return 0
