"""A program, started by the broker or by `pipe`, whose frames are not quite JSON: listed, called, never waited for."""

import sys

import pytest

from mcp_endpoint.clients.pipe.lines import Lines
from mcp_endpoint.wire.repair.frames import Flaw
from support.brokers import Brokers
from support.paths import PROGRAMS
from support.peers import fault, said

PROGRAM = [sys.executable, str(PROGRAMS / "broken_program.py")]
OWN = b'{"jsonrpc":"2.0","id":7,"result":{}}'


async def test_a_program_whose_frames_are_broken_is_listed_and_called(opening: Brokers) -> None:
    broker = opening(home={"command": PROGRAM[0], "args": PROGRAM[1:]})
    agent = broker.agent()
    async with agent.device() as device:
        assert sorted(await device.names()) == ["gbk", "half", "indented", "nan", "utf16"]
        assert said(await device.call("half")) == "ok \ufffd"
        assert said(await device.call("indented")) == "in"
        assert said(await device.call("utf16")) == "wide"
        assert (await device.call("nan"))["result"]["structuredContent"] == {"t": None}
        answer = await device.call("gbk")
        assert fault(answer) == (-32603, "unreadable_answer")
        assert "GBK" in answer["error"]["data"]["details"]
        (link,) = (await broker.stats())["agents"]["@home"]["links"]
    notes = {"ids_respelled", "half_characters", "frames_not_by_line", "utf16", "not_a_number", "gbk"}
    assert set(link["notes"]) == notes


@pytest.mark.parametrize(
    ("lines", "frames", "junk", "flaws"),
    [
        ([OWN], [OWN], 0, set()),
        ([b'{"kept": "\xe4\xb8\xad"} '], [b'{"kept": "\xe4\xb8\xad"}'], 0, set()),
        ([b"hello", b"[1]", b""], [], 2, set()),
        ([b"\xef\xbb\xbf" + OWN], [OWN], 0, set()),
        ([b"INFO " + OWN + OWN], [OWN, OWN], 0, {Flaw.OTHER_TEXT, Flaw.SEVERAL}),
        ([b"{", OWN[1:-1], b"}"], [b"{ " + OWN[1:-1] + b" }"], 0, {Flaw.SEVERAL}),
        ([b"{", b"then", OWN], [OWN], 2, set()),
    ],
)  # fmt: skip
def test_lines_of_a_bridge(lines: list[bytes], frames: list[bytes], junk: int, flaws: set[Flaw]) -> None:
    reader = Lines()
    taken = [reader.take(line) for line in lines]
    assert [frame for one in taken for frame in one.frames] == frames
    assert sum(len(one.junk) for one in taken) == junk
    assert {flaw for one in taken for flaw in one.flaws} == flaws


def test_a_lost_answer_is_an_error_for_the_endpoint() -> None:
    reader = Lines()
    [error] = reader.take('{"jsonrpc":"2.0","id":7,"result":{"t":"中文，没有"}}'.encode("gbk")).frames
    assert b'"id":7' in error
    assert b"GBK" in error
    assert reader.take(b'{"jsonrpc":"2.0","id":8,"result":{"t":"cut').frames == ()
    assert reader.waits
    [error] = reader.give_up().frames
    assert b'"id":8' in error
