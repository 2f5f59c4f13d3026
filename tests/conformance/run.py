"""Run the official conformance suite against the everything-server: directly, through the broker, and in three parts.

Usage: run.py [--mode MODE ...] [--suite NAME ...] [--keep FOLDER]

Fails if anything fails that is not in expected-failures/, or passes although it is there. The direct run of a suite is
always made: it is what the others are compared with.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from setups import SETUPS, Target
from suites import MODULES, SUITES, Checks, Suite, reasons
from verdict import Verdict


async def checks_of(suite: Suite, target: Target, folder: Path) -> Checks:
    """The states of all checks; scenarios that leave out the URL's query are run again where that does not matter."""
    checks = await suite.run(target.url, folder / "all")
    if target.with_header == target.url:
        return checks
    for scenario in suite.without_query:
        again = await suite.run(target.with_header, folder / scenario, scenario)
        checks = {name: state for name, state in checks.items() if name.partition(":")[0] != scenario} | again
    return checks


async def run(modes: list[str], suites: list[Suite], folder: Path) -> list[Verdict]:
    """All the runs, one after the other: each has the machine for itself."""
    direct: dict[str, Checks] = {}
    verdicts: list[Verdict] = []
    for mode in modes:
        place = folder / mode
        place.mkdir(parents=True)
        async with SETUPS[mode](place) as target:
            for suite in suites:
                began = time.monotonic()
                checks = await checks_of(suite, target, place / suite.name)
                direct.setdefault(suite.name, checks)
                verdicts.append(Verdict(suite.name, mode, checks, direct[suite.name]))
                print(f"{mode}/{suite.name}: {time.monotonic() - began:.0f} s", flush=True)
    return verdicts


def show(verdict: Verdict, folder: Path) -> None:
    """Everything that is not as it should be, and how the run differs from the direct one."""
    said = reasons(folder / verdict.mode / verdict.suite, verdict.failed)
    notes = [
        ("fails, and is not expected to", verdict.unexpected),
        ("passes, and is expected to fail", verdict.outdated),
    ]
    if verdict.mode != "direct":
        notes.append(("differs from the direct run", verdict.differences - verdict.unexpected))
    for what, names in notes:
        for name in sorted(names):
            here, there = (checks.get(name, "not made") for checks in (verdict.checks, verdict.direct))
            print(f"{verdict.mode}/{verdict.suite}: {name} {what} (here {here}, directly {there})")
            if name in said and here != "SUCCESS":
                print(f"    {said[name][:300]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", action="append", choices=SETUPS, help="only this way (may be given several times)")
    parser.add_argument("--suite", action="append", choices=[suite.name for suite in SUITES], help="only this suite")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="where the suite's results are kept; must not exist"
    )
    chosen = parser.parse_args()
    if not MODULES.exists():
        print("The conformance suite is not installed: run `make conformance`, which needs npm.")
        return 1
    suites = [suite for suite in SUITES if suite.name in (chosen.suite or [suite.name])]
    modes = [mode for mode in SETUPS if mode == "direct" or mode in (chosen.mode or SETUPS)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        verdicts = asyncio.run(run(modes, suites, folder))
        for verdict in verdicts:
            show(verdict, folder)
    rows = [verdict.row() for verdict in verdicts]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 1 if any(verdict.unexpected | verdict.outdated for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
