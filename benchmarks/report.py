"""What a run found, as tables in Markdown: facts of the machine first, figures as medians, and ratios of medians."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]


@dataclass
class Table:
    """The figures of one measured thing. `notes` say what was left out, and how a figure is meant."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        self.rows.append(cells)

    def markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines) if self.rows else ""
        return "\n\n".join(part for part in (f"### {self.title}", table, *self.notes) if part)


def figure(value: float, digits: int = 1) -> str:
    return f"{value:,.{digits}f}"


def ratio(measured: Iterable[float], beside: Iterable[float]) -> str:
    """The ratio of the medians of two series that were measured in turns."""
    against = median(beside)
    return f"{median(measured) / against:.2f}" if against else "–"


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def facts() -> str:
    """One line about where this was measured: two runs compare only where it is the same."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    told = subprocess.run(git, capture_output=True, text=True, timeout=30, check=False)
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    commit = told.stdout.strip() or "unknown"
    return f"{os.cpu_count()} × {model}, {sys.platform}, {python}, commit {commit}{load}"
