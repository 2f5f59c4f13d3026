"""A user's Python file, or module, that is loaded and loaded again: what is in it, what is wrong with it, and where."""

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mcp_endpoint.tools import ATTRIBUTE, Mark

Stamp = tuple[int, int]


class Unloadable(Exception):
    """The module cannot be loaded; the message says where it is wrong: file, line, what."""


class _Fresh(SourceFileLoader):
    """Compiles the source as it is now: a kept .pyc is told from a change of the same second by its size only."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class UserModule:
    """One file (`tools.py`) or module (`package.tools`), and what it imports from the file's own folder."""

    def __init__(self, source: str) -> None:
        self.source = source
        is_file = source.endswith(".py") or "/" in source or os.sep in source
        self._path = Path(source).resolve() if is_file else None
        self._helpers: list[str] = []
        self._stamps: dict[Path, Stamp | None] = {}
        if self._path is None:
            self.name = source
            self.title = source.rpartition(".")[2]
        else:
            self.title = self._path.stem
            # Several may be of one name, and one file may be loaded several times.
            self.name = f"mcp_endpoint_file_{re.sub(r'[^A-Za-z0-9_]', '_', self.title)}_{id(self):x}"

    def load(self) -> list[tuple[Callable[..., Any], Mark]]:
        """Run the module anew and return its decorated functions in their order. Blocks; raises Unloadable.

        One that fails leaves the module that was loaded before as it was.
        """
        spec = self._spec()
        before = {name: sys.modules.pop(name) for name in [self.name, *self._helpers] if name in sys.modules}
        known = set(sys.modules)
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        try:
            assert spec.loader is not None
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            self._note_helpers(known)
            for name in [self.name, *self._helpers]:
                sys.modules.pop(name, None)
            sys.modules.update(before)
            self._helpers = [name for name in before if name != self.name]
            raise Unloadable(self._complaint(error)) from error
        self._note_helpers(known)
        return decorated(module)

    def changed(self) -> bool:
        """Whether a file of it is another than when it was last loaded, or that was last asked."""
        now = {path: _stamp(path) for path in self._stamps}
        changed = now != self._stamps
        self._stamps = now
        return changed

    def forget(self) -> None:
        """Leave nothing of it among the loaded modules; its functions go on working."""
        for name in [self.name, *self._helpers]:
            sys.modules.pop(name, None)
        self._helpers = []

    def _spec(self) -> ModuleSpec:
        path = self._path
        if path is None:
            importlib.invalidate_caches()
            try:
                found = importlib.util.find_spec(self.name)
            except (Exception, SystemExit) as error:
                raise Unloadable(self._complaint(error)) from error
            if found is None or found.origin is None or not found.has_location:
                raise Unloadable(f"there is no Python module {self.name}")
            self._watch(Path(found.origin))
            found.loader = _Fresh(self.name, found.origin)
            return found
        self._watch(path)
        if not path.is_file():
            raise Unloadable(f"{path}: there is no such file")
        if str(path.parent) not in sys.path:
            # At the end: a file beside it may be called as a module that the broker needs.
            sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(self.name, path, loader=_Fresh(self.name, str(path)))
        assert spec is not None
        return spec

    def _watch(self, path: Path) -> None:
        self._stamps = {path: _stamp(path)}

    def _note_helpers(self, known: set[str]) -> None:
        """Remember what the module imported from its own folder: it is loaded anew with it, and watched."""
        (own,) = self._stamps
        self._helpers = []
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name in known or name == self.name or not isinstance(file, str):
                continue
            path = Path(file)
            if own.parent in path.parents and "site-packages" not in path.parts:
                self._helpers.append(name)
                self._stamps[path] = _stamp(path)

    def _complaint(self, error: BaseException) -> str:
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, SyntaxError) and error.filename:
            return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).parent in {path.parent for path in self._stamps}]
        return f"{own[-1].filename}, line {own[-1].lineno}: {what}" if own else f"{self.source}: {what}"


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def decorated(module: ModuleType) -> list[tuple[Callable[..., Any], Mark]]:
    """The decorated functions in a module's namespace, each once, in their order."""
    found: dict[int, tuple[Callable[..., Any], Mark]] = {}
    for value in vars(module).values():
        if inspect.isroutine(value) and isinstance(mark := getattr(value, ATTRIBUTE, None), Mark):
            found.setdefault(id(value), (value, mark))
    return list(found.values())
