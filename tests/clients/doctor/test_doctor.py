"""`doctor` against the real broker, against others that have its port, and against nobody."""

import asyncio
import io
import json
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mcp_endpoint import __version__
from mcp_endpoint.clients import http_get
from mcp_endpoint.clients.doctor import command as doctor
from mcp_endpoint.clients.doctor import host_checks, stats_checks
from mcp_endpoint.clients.doctor.command import Question
from mcp_endpoint.clients.doctor.findings import Status
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.tokens import Tokens
from support.brokers import Brokers
from support.doctor import examine, of_broker, settings_file
from support.languages import no_chinese, no_pair
from support.paths import ROOT
from support.peers import KEY, Agent, Broker
from support.servers.canned import http, listening
from support.servers.http_peers import free_port
from support.sockets import PATIENCE

NOBODY = "http://192.0.2.1:8004"
posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and descriptor limits are POSIX's")


# --- a broker that runs ---


async def test_a_broker_that_is_well(new_broker: Brokers) -> None:
    broker = new_broker()
    broker.config.chmod(0o600)
    agent = broker.agent()
    async with agent.tool_side("lamp"), agent.device():
        report = await of_broker(broker, token=agent.token)
        assert report.code == 0
        assert report.statuses == {"ok", "warning"}
        assert report.one("settings") == ("ok", f"The settings are good: {broker.config}")
        assert report.one("port") == ("ok", f"The broker runs on 127.0.0.1:{broker.port}; connections: 2.")
        assert report.one("key-in-use")[0] == report.one("clock")[0] == report.one("urls")[0] == "ok"
        assert report.one("token") == ("ok", f"The token is valid, of agent {agent.id}.")
        status, sentence = report.one("agent")
        assert status == "ok"
        assert sentence.startswith(f"Agent {agent.id}: ")
        status, sentence = report.one("self-test")
        assert status == "ok"
        assert sentence.endswith(" ms")
        # The one warning that is due: this broker listens on 127.0.0.1 only.
        assert [one["check"] for one in report.checks if one["status"] != "ok"] == ["addresses"]


async def test_the_test_call_leaves_nothing_behind(new_broker: Brokers) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with agent.tool_side("lamp"), agent.device() as device:
        for _ in range(2):
            report = await of_broker(broker)
            assert report.one("self-test")[0] == "ok"
        await broker.logged("tool side ended: .*mcp-endpoint-doctor", count=2)
        await broker.logged("device side ended: ", count=2)
        stats = await broker.stats()
        assert stats["total_connections"] == 2
        others = [one for id_, one in stats["agents"].items() if id_ != agent.id]
        assert [one["links"] + one["tools"] for one in others] == [[]] * len(others)
        assert await device.settled() == []
        assert (await of_broker(broker)).of("agent") == [], "what it left is no finding"


async def test_agents_in_trouble_are_shown_unasked_and_asked_for_they_are_a_problem(new_broker: Brokers) -> None:
    broker = new_broker()
    well, lonely, gone = broker.agent(), broker.agent(), broker.agent()
    async with gone.tool_side("t"):
        pass
    await gone.ended("tool")
    async with well.tool_side("t"), lonely.device():
        report = await of_broker(broker)
        assert report.code == 0
        assert sorted(text.split(": ")[0] for status, text in report.of("agent") if status == "warning") == sorted(
            [f"Agent {lonely.id}", f"Agent {gone.id}"]
        )
        for asked, called in (
            ({"agent": lonely.name}, f"Agent {lonely.name} ({lonely.id}): "),
            ({"token": lonely.token}, f"Agent {lonely.id}: "),
            ({"token": lonely.device_url}, f"Agent {lonely.id}: "),
            ({"agent": "nobody knows it"}, "Agent nobody knows it ("),
        ):
            report = await of_broker(broker, **asked)
            assert report.code == 1
            status, sentence = report.one("agent")
            assert status == "problem"
            assert sentence.startswith(called)
            assert lonely.token not in json.dumps(report.checks)
        report = await of_broker(broker, agent=well.id)
        assert (report.code, report.one("agent")[0]) == (0, "ok")


async def test_agents_without_a_link_are_explained_by_the_broker_too(new_broker: Brokers) -> None:
    """Nobody is there with their tokens now, so that the broker keeps nothing of them: it is asked for them."""
    broker = new_broker(offline_grace=0, more="[agent kitchen]\ntools_from = shared, other\nallow = lamp\n")
    shared, gone = Agent(broker, "shared"), broker.agent()
    report = await of_broker(broker, agent="kitchen")
    assert report.code == 1
    assert "nor with those of the agents in tools_from, since the broker started" in report.one("agent")[1]
    async with gone.tool_side("t"):
        pass
    await gone.ended("tool")
    async with shared.tool_side("lamp", "oven"):
        for asked in ({"agent": "kitchen"}, {"token": Agent(broker, "kitchen").token}):
            report = await of_broker(broker, **asked)
            assert (report.code, report.one("agent")[0]) == (0, "ok")
            assert report.one("agent")[1].endswith(": Tool programs connected: 1, tools: 1.")
    for asked in ({"agent": gone.name}, {"agent": gone.id}, {"token": gone.token}):
        report = await of_broker(broker, **asked)
        assert ": calc went offline " in report.one("agent")[1]
    report = await of_broker(broker, agent="nobody")
    assert "No tool program has ever connected with this token since the broker started" in report.one("agent")[1]
    assert list((await broker.stats())["agents"]) == [], "looking leaves nothing behind"
    assert not [line for line in broker.lines if f"agent {Agent(broker, 'kitchen').id}: " in line], "nor in the log"


async def test_the_brokers_own_words_are_used(new_broker: Brokers) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with agent.device():
        why = (await agent.report())["why"]
        report = await of_broker(broker, agent=agent.id)
    [found] = [one for one in report.checks if one["check"] == "agent"]
    assert found["en"].endswith(why["en"])
    assert found["zh"].endswith(why["zh"])


async def test_another_key_in_the_settings_than_in_use(broker: Broker, tmp_path: Path) -> None:
    other = settings_file(tmp_path, broker.port, key="another key altogether")
    report = await examine(other, token=Tokens(KEY).mint("a"))
    assert report.code == 1
    assert report.one("port")[0] == "ok"
    assert report.one("key-in-use") == (
        "problem",
        "The running broker uses another key than these settings: restart it after a change, or name its settings "
        "file with --config.",
    )
    assert report.one("urls")[0] == "problem"
    assert "uses another key" in report.one("urls")[1]
    assert report.one("token")[0] == "problem"
    assert "is it from another key" in report.one("token")[1]
    assert report.of("self-test") == []


async def test_public_url_behind_a_prefix(broker: Broker, tmp_path: Path) -> None:
    path = settings_file(tmp_path, broker.port, public_url=f"http://localhost:{broker.port}/voice/mcp_endpoint")
    report = await examine(path)
    assert report.code == 0
    assert report.one("urls")[0] == "ok"
    assert [status for status, _ in report.of("self-test")] == ["ok", "ok"], "on the spot, and by the public URL"
    assert report.one("addresses")[0] == "warning"


async def test_public_url_that_leads_nowhere(broker: Broker, tmp_path: Path) -> None:
    path = settings_file(tmp_path, broker.port, public_url=f"http://localhost:{free_port()}")
    report = await examine(path)
    assert report.code == 0
    status, sentence = report.one("urls")
    assert status == "warning"
    assert "connection refused" in sentence
    assert "If other machines do reach it, never mind." in sentence
    assert len(report.of("self-test")) == 1


async def test_public_url_that_leads_to_something_else(broker: Broker, tmp_path: Path) -> None:
    async def elsewhere(_: bytes) -> bytes:
        return http({"hello": 1}, status="404 Not Found")

    async with listening(elsewhere) as (port, _):
        report = await examine(settings_file(tmp_path, broker.port, public_url=f"http://localhost:{port}"))
    assert report.code == 1
    status, sentence = report.one("urls")
    assert status == "problem"
    assert "answered HTTP 404" in sentence


# --- no broker, or something else in its place ---


async def test_nobody_listens(tmp_path: Path) -> None:
    report = await examine(settings_file(tmp_path, port := free_port()))
    assert report.code == 1
    assert report.one("port") == (
        "problem",
        f"Nobody listens on 127.0.0.1:{port}: the broker is not running; start it.",
    )
    assert {one["check"] for one in report.checks} >= {"settings", "key", "data", "logs", "addresses"}
    assert [one["check"] for one in report.checks if one["status"] == "problem"] == ["port"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http({"status": "success", "data": {}}), "Another program uses"),
        (http([]), "Another program uses"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "Another program uses"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (b"", "the answer is not HTTP"),
        (b"HTTP/1.1 \xff\r\nDate: x\r\n\r\n{", "the answer is not HTTP"),
    ],
)
async def test_another_program_has_the_port(tmp_path: Path, answer: bytes, words: str) -> None:
    async def say(_: bytes) -> bytes:
        return answer

    async with listening(say) as (port, heard):
        report = await examine(settings_file(tmp_path, port))
    assert report.code == 1
    status, sentence = report.one("port")
    assert status == "problem"
    assert words in sentence
    assert "in use" in report.one("listen")[1]
    assert heard
    assert not any(KEY.encode() in one for one in heard), "a stranger is not told the key"


async def test_a_program_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_get, "PATIENCE", 0.2)
    silent = asyncio.Event()

    async def say(_: bytes) -> bytes:
        await silent.wait()
        return b""

    async with listening(say) as (port, _):
        report = await examine(settings_file(tmp_path, port))
        silent.set()
    assert report.code == 1
    assert "no answer within" in report.one("port")[1]


@pytest.mark.parametrize(("seconds", "words"), [(-3600, "behind ours"), (3600, "ahead of ours")])
async def test_clocks_that_differ_and_a_test_call_that_fails(tmp_path: Path, seconds: int, words: str) -> None:
    async def say(head: bytes) -> bytes:
        date = f"Date: {format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)}"
        if b"GET /stats" in head:
            return http({"data": {"agents": {}}}, date)
        if b"Upgrade" in head:
            return http({}, status="503 Service Unavailable")
        body = {"status": "healthy", "version": __version__, "result": {"status": "success"}}
        return http(body, "no colon", date)

    async with listening(say) as (port, _):
        report = await examine(settings_file(tmp_path, port))
    assert report.code == 1
    status, sentence = report.one("clock")
    assert status == "warning"
    assert words in sentence
    status, sentence = report.one("self-test")
    assert status == "problem"
    assert "answered HTTP 503: it is full or restarting" in sentence


async def test_a_broker_of_another_version_and_one_that_stops(tmp_path: Path) -> None:
    for status, version, words in (("healthy", "99.0", "runs version 99.0"), ("draining", __version__, "is stopping")):
        body = http({"status": status, "version": version})

        async def say(_: bytes, body: bytes = body) -> bytes:
            return body

        async with listening(say) as (port, _):
            report = await examine(settings_file(tmp_path, port))
        found, sentence = report.one("port")
        assert found == "warning"
        assert words in sentence


async def test_a_certificate_for_another_name_than_the_printed_one(tmp_path: Path) -> None:
    async def say(head: bytes) -> bytes:
        if b"GET /stats" in head:
            return http({"data": {"agents": {}}})
        return http({"status": "healthy", "version": __version__})

    cert, key = certificate(tmp_path, 90.0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with listening(say, context) as (port, _):
        path = settings_file(tmp_path, port, tls_cert=cert, tls_key=key)
        report = await examine(path, base=f"https://localhost:{port}")
    assert report.one("port")[0] == report.one("key-in-use")[0] == report.one("tls")[0] == "ok"
    status, sentence = report.one("urls")
    assert status == "problem"
    assert "TLS failed (CERTIFICATE_VERIFY_FAILED)" in sentence
    assert sentence.endswith("Set public_url to the name in the certificate.")


async def test_a_port_that_the_system_chooses(broker: Broker) -> None:
    report = await examine(broker.config)
    assert report.one("port")[0] == "warning"
    assert report.code == 0


# --- this machine ---


async def test_settings_that_cannot_be_used(tmp_path: Path) -> None:
    path = settings_file(tmp_path, 8004, debug="perhaps")
    report = await examine(path)
    assert report.code == 2
    assert [one["check"] for one in report.checks] == ["settings"]
    assert "[server] debug = 'perhaps': allowed: true or false" in report.one("settings")[1]
    report = await examine(tmp_path / "absent.cfg")
    assert report.code == 2
    assert "start the broker once" in report.one("settings")[1]


async def test_what_check_config_warns_of(tmp_path: Path) -> None:
    path = settings_file(tmp_path, free_port(), prot=1, public_url="http://monkey.local:1")
    texts = [text for status, text in (await examine(path)).of("settings") if status == "warning"]
    assert any("did you mean" in text and "port" in text for text in texts)
    assert any("contains 'key'" in text for text in texts)


@posix
def test_who_may_read_the_key(tmp_path: Path) -> None:
    path = settings_file(tmp_path, 1)
    assert host_checks.key_file(path, {}).status is Status.OK
    for mode in (0o640, 0o604, 0o644):
        path.chmod(mode)
        found = host_checks.key_file(path, {})
        assert found.status is Status.WARNING
        assert f"chmod 600 {path}" in found.en
        assert f"{mode:04o}" in found.en
    assert host_checks.key_file(path, {"MCP_ENDPOINT_SERVER__KEY": "k"}).status is Status.OK


def test_what_can_be_written(tmp_path: Path) -> None:
    path = settings_file(tmp_path, 1)
    data, logs = host_checks.folders(path, tmp_path / "logs" / "deep" / "x.log")
    assert (data.status, logs.status) == (Status.OK, Status.OK)
    _, logs = host_checks.folders(path, path / "x.log")
    assert logs.status is Status.WARNING
    assert "Not a directory" in logs.en
    _, logs = host_checks.folders(path, tmp_path)
    assert "Is a directory" in logs.en
    before = path.read_bytes()
    assert host_checks.folders(path, path)[1].status is Status.OK
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.cfg"], "it only looks"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a folder that even root cannot write")
def test_a_data_folder_that_cannot_be_written() -> None:
    data, _ = host_checks.folders(Path("/proc/x.cfg"), None)
    assert data.status is Status.WARNING
    assert "cannot be written by this user: /proc" in data.en


@posix
@pytest.mark.parametrize(("limit", "status"), [(256, "warning"), (1100, "ok")])
def test_too_few_descriptors(tmp_path: Path, limit: int, status: str) -> None:
    path = settings_file(tmp_path, 0)
    command = f'ulimit -n {limit} && exec "$0" main.py --config "$1" doctor --json'
    told = subprocess.run(
        ["sh", "-c", command, sys.executable, str(path)], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False
    )
    [found] = [one for one in json.loads(told.stdout)["checks"] if one["check"] == "descriptors"]
    assert found["status"] == status
    assert f"hard {limit}" in found["en"]
    assert "max_connections = 1000" in found["en"]


@pytest.mark.parametrize(
    ("server", "base", "words"),
    [
        ({"host": "127.0.0.1"}, "http://127.0.0.1:8004", "only this machine reaches the broker"),
        ({"host": "localhost"}, "http://localhost:8004", "only this machine reaches the broker"),
        ({"host": "::1", "public_url": "http://localhost:8004"}, "http://localhost:8004", "set it to 0.0.0.0"),
        ({"public_url": "http://localhost:8004"}, "http://localhost:8004", "public_url is http://localhost:8004"),
        ({"public_url": "http://127.0.0.1:8004"}, "http://127.0.0.1:8004", "set public_url to this machine's LAN"),
        ({}, "http://127.0.0.1:8004", "the printed address is http://127.0.0.1:8004"),
        ({"host": "monkey.local"}, "http://monkey.local:8004", "contains 'key'"),
        ({"host": "localhost", "public_url": "https://a.example"}, "https://a.example", None),
        ({"public_url": "http://192.168.1.10:8004"}, "http://192.168.1.10:8004", None),
    ],
)
def test_addresses_that_others_cannot_use(server: dict[str, str], base: str, words: str | None) -> None:
    settings = Settings.model_validate({"server": {"key": "k"} | server})
    found = host_checks.addresses(settings, base)
    if words is None:
        assert [one.status for one in found] == [Status.OK]
    else:
        [said] = [one for one in found if words in one.en]
        assert said.status is Status.WARNING


def test_an_address_that_is_not_of_this_machine() -> None:
    found = host_checks.can_listen(Settings.model_validate({"server": {"key": "k", "host": "192.0.2.1"}}))
    assert found is not None
    assert "this machine does not have that address" in found.en
    assert host_checks.can_listen(Settings.model_validate({"server": {"key": "k", "host": "::1", "port": "0"}})) is None


def certificate(folder: Path, days: float) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker.example")])
    end = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - timedelta(days=400))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    cert, secret = folder / f"{days}.pem", folder / f"{days}.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, secret


def test_certificates(tmp_path: Path) -> None:
    def said(cert: Path | str, key: Path | str) -> tuple[Status, str]:
        server = {"key": "k", "tls_cert": str(cert), "tls_key": str(key)}
        [found] = host_checks.tls_files(Settings.model_validate({"server": server}), tmp_path)
        return found.status, found.en

    assert host_checks.tls_files(Settings.model_validate({"server": {"key": "k"}}), tmp_path) == []
    good, soon, old = (certificate(tmp_path, days) for days in (90.0, 3.0, -3.0))
    assert said(*good)[0] is Status.OK
    assert said("90.0.pem", "90.0.key")[0] is Status.OK, "in the home folder"
    assert said(*soon)[0] is Status.WARNING
    assert said(*old)[0] is Status.PROBLEM
    assert "expired on" in said(*old)[1]
    for cert, key, words in (
        (good[0], soon[1], "KEY_VALUES_MISMATCH"),
        (good[0], "", ""),
        (tmp_path / "absent.pem", "", "No such file"),
        (good[1], good[1], ""),
    ):
        status, sentence = said(cert, key)
        assert status is Status.PROBLEM
        assert words in sentence
    both = tmp_path / "both.pem"
    both.write_bytes(good[0].read_bytes() + good[1].read_bytes())
    assert said(both, "")[0] is Status.OK


# --- what a broker says that knows more, or less ---


def test_a_broker_that_explains_nothing() -> None:
    last = {"role": "tool", "agent": "b", "reason": "ping_timeout", "ended": "2026-11-20T07:00:00.000+00:00"}
    stats = {
        "agents": {"a": {"links": [{"role": "tool", "tools": 2}], "tools": ["x", "y"]}, "b": {"links": []}},
        "ended": [last | {"agent": "x"}, last | {"role": "device"}, last],
    }
    for id_, status, words in (
        ("a", Status.OK, "a tool program is connected; tools: 2."),
        ("b", Status.PROBLEM, "the last one ended at 2026-11-20T07:00:00.000+00:00 (ping_timeout)"),
        ("c", Status.PROBLEM, "no tool program has connected with this token"),
    ):
        [found] = stats_checks.agents(stats, (id_,), id_)
        assert found.status is status
        assert words in found.en


def test_what_to_do_about_a_server_is_told_once_in_each_language() -> None:
    cause, todo = {"zh": "被拒绝", "en": "refused"}, {"zh": "请检查", "en": "look at it"}
    failure = {"zh": "连不上", "en": "not reached", "detail": "refused", "cause": cause, "todo": todo}
    [found] = stats_checks.servers({"servers": [{"name": "a", "failure": failure}]})
    assert (found.zh, found.en) == ("服务 a：连不上（被拒绝）；请检查", "Server a: not reached (refused); look at it")


def test_refusals_and_what_peers_put_into_sentences() -> None:
    refused = [
        {"address": "192.0.2.7", "why": {"zh": "拒绝", "en": "token refused 14 times from 192.0.2.7"}},
        {"zh": "拒绝", "en": "\x1b[2Jtoken=abcdef"},
        {"address": "192.0.2.8"},
        "odd",
    ]
    found = stats_checks.agents({"agents": {}, "refusals": refused}, (), "")
    assert [one.en for one in found] == ["token refused 14 times from 192.0.2.7", "\\x1b[2Jtoken=***"]
    assert {one.status for one in found} == {Status.WARNING}
    many = {str(number): {"links": []} for number in range(30)}
    found = stats_checks.agents({"agents": many}, (), "")
    assert len(found) == 21
    assert found[-1].en == "10 more agents: see /stats."


# --- the command ---


async def test_nothing_ends_in_a_traceback(tmp_path: Path) -> None:
    def broken(_: Settings) -> str:
        raise RuntimeError(f"no base for {KEY}")

    out = io.StringIO()
    question = Question(settings_file(tmp_path, 1), tmp_path)
    assert await asyncio.to_thread(doctor.run, question, {}, broken, Terminal("en", out, out)) == 1
    assert "The checks broke off: RuntimeError: no base for ***" in out.getvalue()


async def test_the_command(new_broker: Brokers, tmp_path: Path) -> None:
    broker = new_broker()  # on a shared one others are in trouble and refused

    async def told(*arguments: str, cut: bool = False) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "main.py"),
            "--config",
            str(settings_file(tmp_path, broker.port)),
            "doctor",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
            | {"PYTHONIOENCODING": "utf-8"},
        )
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode is not None
        return process.returncode, output.decode()

    code, output = await told("--lang", "zh")
    assert code == 0, output
    *lines, summary = output.splitlines()
    assert len(lines) > 8
    assert all(line.startswith(("[正常] ", "[警告] ")) and no_pair(line) for line in lines)
    assert summary == f"共 {len(lines)} 项检查：0 个问题，1 个警告。"
    code, output = await told("--lang", "en")
    assert code == 0, output
    *lines, summary = output.splitlines()
    assert all(line.startswith(("[ok] ", "[warning] ")) and no_chinese(line) for line in lines)
    assert summary == f"{len(lines)} checks: no problems, 1 warning."
    code, output = await told("--token", "nonsense", "--json")
    assert code == 1
    assert json.loads(output)["problems"] == 1
    code, output = await told("--token", "t", "--agent", "a", "--lang", "en")
    assert code == 2
    assert "not allowed with" in output


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    command = [sys.executable, "main.py", "--config", str(settings_file(tmp_path, 0)), "doctor"]
    read, write = os.pipe()
    os.close(read)
    told = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    os.close(write)
    assert (told.returncode, told.stderr) == (1, b"")
