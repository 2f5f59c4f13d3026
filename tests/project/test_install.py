"""What a person meets first: an old Python, missing packages, an installed wheel, a container."""

import ast
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.paths import ROOT

PRETEND = "import runpy, sys; sys.version_info = (3, 8, 19); runpy.run_path('main.py', run_name='__main__')"


def run(*command: str | Path, cwd: Path = ROOT, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


def test_an_older_python_is_told_in_one_sentence() -> None:
    source = (ROOT / "main.py").read_text("utf-8")
    assert "coding: utf-8" in source.splitlines()[0], "Python 2 is one too, and would stop at the first Chinese letter"
    ast.parse(source, feature_version=(3, 4))
    told = run(sys.executable, "-c", PRETEND)
    assert told.returncode == 1
    assert told.stderr.startswith("mcp-endpoint needs Python 3.11 or newer; this is Python 3.8")
    assert len(told.stderr.splitlines()) == 1


def test_missing_packages_are_named_in_one_sentence() -> None:
    told = run(sys.executable, "-I", "-S", "main.py")
    assert told.returncode == 1
    assert "make setup" in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_a_port_in_use_is_told_in_one_sentence(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "c.cfg"
        config.write_text(f"[server]\nhost = 127.0.0.1\nport = {port}\n[logging]\nlog_file =\n", "utf-8")
        told = run(sys.executable, "main.py", "--config", config)
    assert told.returncode == 1
    assert f"127.0.0.1:{port}" in told.stderr
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.timeout(600)
def test_the_wheel_brings_the_command_and_the_shipped_settings(tmp_path: Path) -> None:
    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ".", timeout=280)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("mcp_endpoint-*.whl")
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        assert "mcp_endpoint/mcp-endpoint-server.cfg" in names
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert b"mcp-endpoint = mcp_endpoint.cli:main" in files.read(entry_points)
        files.extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "MCP_ENDPOINT_SERVER__PORT": "0"}
    home = tmp_path / "home"
    home.mkdir()
    broker = subprocess.Popen(
        [sys.executable, "-m", "mcp_endpoint"], cwd=home, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert broker.stdout is not None
        assert any("listens on" in line for line in broker.stdout)
        assert "key = " in (home / "data" / ".mcp-endpoint-server.cfg").read_text("utf-8")
    finally:
        broker.send_signal(signal.SIGTERM)
        broker.communicate(timeout=60)
    assert broker.returncode == 0


@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="the image is Linux")
@pytest.mark.parametrize("variant", ["plain", "programs"])
def test_the_dockerfile_by_hand(variant: str) -> None:
    done = run("env", f"VARIANT={variant}", "bash", "tests/docker-by-hand.sh", timeout=880)
    if "skip: everything" in done.stdout:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: unprivileged" in done.stdout
