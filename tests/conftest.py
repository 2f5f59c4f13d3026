"""Brokers for the wire tests: one process for each set of settings, shared by the tests that use it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from support.brokers import Brokers
from support.node import HAS_NODE, WITHOUT_NODE
from support.peers import Broker
from support.servers.opened import write

# How long an example takes says something of the machine only.
hypothesis_settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, those with a time limit of their own: as the last ones they would leave a core idle."""
    limits = (item.get_closest_marker("timeout") for item in items)
    long = {id(item) for item, limit in zip(items, limits, strict=True) if limit is not None and limit.args[0] > 300}
    items.sort(key=lambda item: id(item) not in long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was not run, and why: nothing is left out in silence."""
    files: dict[str, Counter[str]] = defaultdict(Counter)
    for report in terminalreporter.stats.get("skipped", []):
        files[report.longrepr[2].removeprefix("Skipped: ")][report.nodeid.partition("::")[0]] += 1
    if not HAS_NODE:
        files[WITHOUT_NODE]["the programs of npm in tests/providers/test_troubles.py"] += 1
    for reason, counts in files.items():
        terminalreporter.write_line(f"not run: {reason}", yellow=True)
        for file, count in sorted(counts.items()):
            terminalreporter.write_line(f"  {count} × {file}")
    config = terminalreporter.config
    if not files and config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.collectonly:
        terminalreporter.write_line("nothing was left out")


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[object, Broker]]:
    running: dict[object, Broker] = {}
    yield running
    codes = {settings: broker.stop() for settings, broker in running.items()}
    for broker in running.values():
        broker.check()
    assert set(codes.values()) <= {0}


@pytest.fixture
def broker_with(_running: dict[object, Broker], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """A broker with these settings; it goes on for later tests. Each test takes agents of its own from it."""
    used: dict[Broker, int] = {}

    def get(**settings: object) -> Broker:
        name = tuple(sorted(settings.items()))
        if name not in _running:
            _running[name] = Broker(tmp_path_factory.mktemp("broker"), **settings)
        used.setdefault(_running[name], len(_running[name].lines))
        return _running[name]

    yield get
    for broker, lines in used.items():
        assert broker.process.poll() is None, broker.lines[-30:]
        broker.check(lines)


@pytest.fixture
def broker(broker_with: Brokers) -> Broker:
    """A broker on the default settings."""
    return broker_with()


@pytest.fixture
def new_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """A broker for this test alone, which may end it or fill it."""
    started: list[Broker] = []

    def start(**settings: object) -> Broker:
        started.append(Broker(tmp_path_factory.mktemp("broker"), **settings))
        return started[-1]

    yield start
    for broker in started:
        code = broker.stop()
        broker.check()
        assert code == 0


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Brokers]:
    """A broker for this test alone, whose mcp_servers.json lists the servers given by name."""
    started: list[Broker] = []

    def begin(settings: dict[str, object] | None = None, **servers: object) -> Broker:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        write(folder, **servers)
        started.append(Broker(folder, **(settings or {})))
        return started[-1]

    yield begin
    for broker in started:
        code = broker.stop()
        broker.check()
        assert code == 0
