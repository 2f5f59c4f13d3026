"""Timers, heartbeat and outbox: the three places where something happens later."""

import asyncio
from types import SimpleNamespace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_endpoint.broker.timers import TIDY, Timers
from mcp_endpoint.doors.outbox import Outbox
from mcp_endpoint.doors.websocket.heartbeat import Heartbeat
from mcp_endpoint.doors.websocket.sending import Sending
from mcp_endpoint.settings.schema import ServerSettings, Settings
from support.sockets import PATIENCE


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans())), st.lists(st.integers(0, 25)))
def test_what_is_due_is_called_once_and_in_order(deadlines: list[tuple[int, bool]], sweeps: list[int]) -> None:
    timers, called = Timers(), []
    kept = []
    for number, (when, cancelled) in enumerate(deadlines):
        timer = timers.at(when, lambda now, at=(when, number): called.append(at))
        if cancelled:
            timer.cancel()
        else:
            kept.append((when, number))
    for now in sorted(sweeps):
        timers.sweep(now)
        assert called == [at for at in sorted(kept) if at[0] <= now]
    assert len(timers) == len(kept) - len(called)


def test_cancelled_deadlines_do_not_pile_up() -> None:
    timers, called = Timers(), []
    kept = [timers.at(1000 - number, called.append) for number in range(10)]
    for _ in range(10 * TIDY):
        timers.at(300, called.append).cancel()
    assert len(timers) == len(kept)
    assert len(timers._heap) <= 2 * TIDY
    timers.sweep(1000)
    assert len(called) == len(kept)


def test_a_timer_may_set_another_that_is_due_at_once() -> None:
    timers, called = Timers(), []
    timers.at(1, lambda now: timers.at(now, called.append) and None)
    timers.sweep(2)
    assert called == [2]


class Peer:
    def __init__(self) -> None:
        self.heard = 0.0
        self.pings: list[float] = []
        self.ended = 0

    def ping(self, now: float) -> None:
        self.pings.append(now)
        self.heard = min(self.heard, now - 1e-6)

    def unheard(self) -> None:
        self.ended += 1


def test_a_silent_peer_is_ended_within_interval_and_timeout() -> None:
    heartbeat, peer = Heartbeat(30, 10), Peer()
    heartbeat.add(peer, 0.0)
    for tenth in range(500):
        heartbeat.sweep(tenth / 10)
        if peer.ended:
            break
    assert peer.pings == [30.0]
    assert (peer.ended, tenth / 10) == (1, 40.1), "one sweep later, when all that came until then has been read"
    heartbeat.sweep(1000.0)
    assert (len(peer.pings), peer.ended) == (1, 1)


def test_any_byte_keeps_a_peer_alive_even_with_a_timeout_longer_than_the_interval() -> None:
    heartbeat, alive, silent = Heartbeat(1, 5), Peer(), Peer()
    heartbeat.add(alive, 0.0)
    heartbeat.add(silent, 0.0)
    for tenth in range(200):
        now = tenth / 10
        alive.heard = now
        heartbeat.sweep(now)
    assert alive.ended == 0
    assert len(alive.pings) == 19
    assert silent.ended == 1
    heartbeat.discard(alive)
    heartbeat.sweep(500.0)
    assert len(alive.pings) == 19


def test_an_answer_within_the_same_step_of_the_clock_counts() -> None:
    heartbeat, peer = Heartbeat(30, 10), Peer()
    heartbeat.add(peer, 0.0)
    heartbeat.sweep(30.0)
    peer.heard = 30.0
    heartbeat.sweep(40.0)
    heartbeat.sweep(40.1)
    assert peer.ended == 0


class Wired(Peer):
    """A peer that answers pings after `latency` seconds, until it dies at `death`."""

    def __init__(self, latency: float, death: float) -> None:
        super().__init__()
        self.latency, self.death = latency, death
        self.last = 0.0
        self._answers: list[float] = []

    def ping(self, now: float) -> None:
        super().ping(now)
        if now + self.latency <= self.death:
            self._answers.append(now + self.latency)

    def arrive(self, now: float) -> None:
        """What came by now is read now, after the sweep: timers go first in a turn of the loop."""
        if any(at <= now for at in self._answers):
            self.heard = self.last = now
        self._answers = [at for at in self._answers if at > now]


@given(
    interval=st.floats(0.2, 60),
    timeout=st.floats(0.2, 60),
    latency=st.floats(0, 0.9),
    death=st.floats(0, 300),
    steps=st.lists(st.tuples(st.floats(0, 300), st.floats(0, 500)), max_size=3),
)
@example(interval=20, timeout=20, latency=0, death=20.1, steps=[])
@example(interval=10, timeout=20, latency=0, death=30.1, steps=[])
@example(interval=5, timeout=30, latency=0, death=35.1, steps=[])
@settings(max_examples=300)
def test_only_the_dead_are_ended_and_in_time_whatever_the_clock_does(
    interval: float, timeout: float, latency: float, death: float, steps: list[tuple[float, float]]
) -> None:
    """Steps are moments at which the process stands still for some seconds: suspended, or busy elsewhere."""
    heartbeat, alive, dies = (
        Heartbeat(interval, timeout),
        Wired(latency * timeout, float("inf")),
        Wired(latency * timeout, death),
    )
    for peer in (alive, dies):
        heartbeat.add(peer, 0.0)
    now, jumps, waiting = 0.0, 0.0, sorted(steps)
    while not dies.ended:
        now += 0.1
        while waiting and waiting[0][0] <= now:
            seconds = waiting.pop(0)[1]
            now, jumps = now + seconds, jumps + seconds
        heartbeat.sweep(now)
        for peer in (alive, dies):
            peer.arrive(now)
        assert not alive.ended
        assert now < 3000
        assert now <= max(dies.last, death) + interval + timeout + jumps + 2


def test_an_interval_of_zero_pings_nobody() -> None:
    heartbeat, peer = Heartbeat(0, 10), Peer()
    heartbeat.add(peer, 0.0)
    heartbeat.sweep(1e6)
    assert peer.pings == []


def test_new_times_hold_for_open_links_too() -> None:
    heartbeat, one, two = Heartbeat(30, 10), Peer(), Peer()
    heartbeat.add(one, 0.0)
    heartbeat.add(two, 20.0)
    heartbeat.change(15, 2, 25.0)
    for tenth in range(250, 400):
        heartbeat.sweep(tenth / 10)
        one.heard = tenth / 10
    assert one.pings == [30.0], "what was due sooner stays so"
    assert two.pings == []
    heartbeat.sweep(40.0)
    assert two.pings == [40.0]
    heartbeat.sweep(42.0)
    heartbeat.sweep(42.1)
    assert (one.ended, two.ended) == (0, 1)


def test_pings_may_be_turned_on_and_off_for_open_links() -> None:
    heartbeat, peer = Heartbeat(0, 10), Peer()
    heartbeat.add(peer, 0.0)
    heartbeat.change(5, 1, 100.0)
    heartbeat.sweep(104.9)
    assert peer.pings == []
    heartbeat.sweep(105.0)
    assert peer.pings == [105.0]
    heartbeat.change(0, 1, 105.5)
    heartbeat.sweep(1e6)
    assert (peer.pings, peer.ended) == ([105.0], 0), "nor is it held to the ping that was sent before"


class Pipe:
    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.flushed = 0
        self.failed: list[Exception] = []
        self.done = asyncio.Event()

    def flush(self) -> None:
        if self.broken:
            raise OSError("broken")
        self.flushed += 1
        self.done.set()

    def fail(self, error: Exception) -> None:
        self.failed.append(error)


async def test_one_failing_link_does_not_stop_the_flush_of_the_rest() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    first, broken, last = Pipe(), Pipe(broken=True), Pipe()
    outbox.hold()
    for pipe in (first, broken, last):
        outbox.add(pipe)
    assert first.flushed == 0
    outbox.release()
    assert (first.flushed, len(broken.failed), last.flushed) == (1, 1, 1)


async def test_a_send_from_elsewhere_goes_out_with_the_next_turn_of_the_loop() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    pipe = Pipe()
    outbox.add(pipe)
    assert pipe.flushed == 0
    await asyncio.wait_for(pipe.done.wait(), PATIENCE)
    outbox.add(pipe)
    outbox.hold()
    outbox.release()
    assert pipe.flushed == 2


class Written:
    """A transport that keeps each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def get_write_buffer_size(self) -> int:
        return 0


async def test_all_that_one_piece_of_input_leads_to_is_one_write_per_peer() -> None:
    loop = asyncio.get_running_loop()
    outbox = Outbox(loop)
    port_state = SimpleNamespace(settings=Settings(server=ServerSettings(key="key")), outbox=outbox, loop=loop)
    transports = []
    links = []
    for _ in range(2):
        link, transport = Sending(SimpleNamespace(port_state=port_state)), Written()  # type: ignore[arg-type]
        link._transport = transport  # type: ignore[assignment]
        links.append(link)
        transports.append(transport)
    outbox.hold()
    for frame in (b"one", b"two", b"three"):
        for link in links:
            link.send(frame)
    assert [transport.writes for transport in transports] == [[], []]
    outbox.release()
    assert [transport.writes for transport in transports] == [[b"\x81\x03one\x81\x03two\x81\x05three"]] * 2
