"""The benchmarks run: what they find is for people to read, that they find it is for a test."""

import subprocess
import sys

import pytest

from support.paths import ROOT

SHORT = ["--peers", "", "--rounds", "1", "--seconds", "0.2", "--agents", "2", "--idle", "10"]
A_RUN = 240
"""Seconds that it may take, however busy the machine is."""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/run.py", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=A_RUN, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")
def test_a_short_run_prints_a_table_of_each_part() -> None:
    told = run("--only", "calls,idle,in_process,http_doors,providers,isolation", *SHORT)
    assert (told.returncode, told.stderr) == (0, "")
    titles = [line.removeprefix("### ") for line in told.stdout.splitlines() if line.startswith("### ")]
    assert [title.split(",")[0] for title in titles] == [
        "Per call",
        "10 idle links",
        "The broker's own code per call",
        "Per call over HTTP",
        "A call of a server on stdio",
        "tools/list",
        "p99 of 4 agents beside a tool side that reads no more",
    ]
    assert "| broker |" in told.stdout


def test_a_part_that_is_none_is_refused_with_those_that_are() -> None:
    told = run("--only", "calls,everything")
    assert told.returncode == 2
    assert told.stderr.rstrip().endswith(
        "everything: there are calls, idle, in_process, http_doors, providers, isolation, attacks, storms"
    )
