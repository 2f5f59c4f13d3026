"""The relays that are compared, each as a process on a core of its own: this broker, nats-server and nginx with nchan.

All three are spoken to over WebSocket on the loopback. Ports are chosen by the system.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.peers import Agent, Broker

PATIENCE = 30.0
"""Seconds that a relay has for its start, and for its end."""
INSTALL_PATIENCE = 300
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
CORES = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []

NATS_CONFIG = """
listen: "127.0.0.1:-1"
websocket { listen: "127.0.0.1:%(port)d", no_tls: true }
"""
NCHAN_CONFIG = """
load_module %(module)s;
worker_processes 1;
worker_rlimit_nofile 65536;
daemon off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 40000; }
http {
  access_log off;
  client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
  nchan_shared_memory_size 512M;
  server {
    listen 127.0.0.1:%(port)d;
    nchan_store_messages off;
    nchan_subscriber_first_message newest;
    location ~ ^/tool/(\\w+)$ {
      nchan_publisher websocket; nchan_publisher_channel_id "to_device_$1";
      nchan_subscriber websocket; nchan_subscriber_channel_id "to_tool_$1";
    }
    location ~ ^/device/(\\w+)$ {
      nchan_publisher websocket; nchan_publisher_channel_id "to_tool_$1";
      nchan_subscriber websocket; nchan_subscriber_channel_id "to_device_$1";
    }
  }
}
"""


@dataclass
class Relay:
    """A relay that runs; `broker` is there if it is this one."""

    name: str
    host: str
    port: int
    pid: int
    broker: Broker | None = None

    def path(self, side: str, number: int) -> str:
        """The path at which the `number`th agent's `tool` or `device` side is let in."""
        if self.broker is not None:
            return Agent(self.broker, f"bench{number}").path("mcp" if side == "tool" else "call")
        return f"/{side}/{number}" if self.name == "nchan" else "/"

    def _processes(self) -> list[str]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [str(self.pid), *children]

    def cpu(self) -> float:
        """Seconds of processor time that it has used so far, in user and system."""
        ticks = 0
        for pid in self._processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Bytes of memory that it has."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._processes())
        return pages * os.sysconf("SC_PAGE_SIZE")


def pin(pid: int, core: int) -> None:
    """Give a process one core; -1 is the last one. Nothing happens where there is but one."""
    if len(CORES) > 1:
        os.sched_setaffinity(pid, {CORES[core]})


@contextlib.contextmanager
def broker(folder: Path, **settings: Any) -> Iterator[Relay]:
    """This broker on the shipped settings, but for those given."""
    running = Broker(folder, **{"max_connections": 40_000} | settings)
    pin(running.process.pid, 0)
    try:
        yield Relay("broker", running.host, running.port, running.process.pid, running)
    finally:
        running.stop()


@contextlib.contextmanager
def nats(folder: Path) -> Iterator[Relay]:
    with _started("nats", folder, NATS_CONFIG, lambda config: ["nats-server", "-c", str(config)]) as relay:
        yield relay


@contextlib.contextmanager
def nchan(folder: Path) -> Iterator[Relay]:
    with _started("nchan", folder, NCHAN_CONFIG, lambda config: ["nginx", "-p", str(folder), "-c", str(config)]) as it:
        yield it


@contextlib.contextmanager
def _started(name: str, folder: Path, text: str, command: Callable[[Path], list[str]]) -> Iterator[Relay]:
    """A relay that is told its port in a file; a free one that somebody took meanwhile is changed for another."""
    folder.mkdir(exist_ok=True)
    config = folder / f"{name}.conf"
    environ = os.environ | {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
    for _ in range(3):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config.write_text(text % {"port": port, "module": NCHAN})
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command(config), stdout=log, stderr=log, env=environ)
        try:
            pin(process.pid, 0)
            if _listens(process, port):
                yield Relay(name, "127.0.0.1", port, process.pid)
                return
        finally:
            end(process)
    raise RuntimeError(f"{name} did not start: {(folder / f'{name}.log').read_text()[-500:]}")


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- peers of the system's ---

PACKAGES = {"nats": ["nats-server"], "nchan": ["nginx", "libnginx-mod-nchan"]}
START = {"broker": broker, "nats": nats, "nchan": nchan}


def is_there(peer: str) -> bool:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if peer == "nats":
        return shutil.which("nats-server", path=path) is not None
    return shutil.which("nginx", path=path) is not None and NCHAN.exists()


def install_peers(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """The peers that are there, installed from Debian where we may; and a line for each that is left out."""
    missing = [peer for peer in wanted if not is_there(peer)]
    packages = [package for peer in missing for package in PACKAGES[peer]]
    trouble = ""
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {' '.join(packages)} …", file=sys.stderr, flush=True)
        trouble = _apt(packages)
    notes = [
        f"Left out: {peer}. Install it with `apt-get install {' '.join(PACKAGES[peer])}` (as root).{trouble}"
        for peer in missing
        if not is_there(peer)
    ]
    return [peer for peer in wanted if is_there(peer)], notes


def _apt(packages: list[str]) -> str:
    """Install packages without starting the services they bring; what went wrong, if anything did."""
    policy = Path("/usr/sbin/policy-rc.d")  # asked by Debian's scripts whether a service may be started
    ours = not policy.exists()
    try:
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            subprocess.run(
                ["apt-get", *command],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALL_PATIENCE,
                check=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return f" Installing it failed: {said.strip().splitlines()[-1]}"
    finally:
        if ours:
            policy.unlink(missing_ok=True)
    return ""
