"""Fair service: how much of one agent's input is worked off before the others have their turn."""

from asyncio import AbstractEventLoop, Future
from collections import deque
from time import thread_time
from typing import Protocol

from mcp_endpoint.broker.link import Session
from mcp_endpoint.broker.work_budget import MEASURED, WorkBudget, expected

FRAMES = 16
"""Frames of one agent in one turn of the event loop: a fifth of a millisecond or so.

Measured with a flood beside the calls of another agent: with 256 their p99 is 4 to 7 times as long, with 16 at most 1.7
times. One agent with 64 calls in flight pays 1.4 % of its CPU for it.
"""


REQUEST = 4 * FRAMES
"""Frames that a request over HTTP counts for: with its head, its task and its answer it costs twenty times as much.

So a flood of them has every fourth turn. Measured as above: with one request in each turn the p99 of others is 2.5 to
3.5 times as long.
"""


class Waiting(Protocol):
    """A link with input that waits for its agent's next turn."""

    def go_on(self, now: float) -> None:
        """Work off input, and take what that was off the share's `left`; ask for a turn again if there is more."""


class Share:
    """What the links of one agent share. Times are monotonic seconds, as the event loop has them."""

    __slots__ = ("budget", "fading", "left", "links", "resting", "rests_until", "tick", "unfinished", "waiting")

    def __init__(self) -> None:
        self.links = 0
        self.tick = -1.0
        """The moment that `left` is for. The loop's time stands still within one turn, or nearly so."""
        self.left = 0
        """Frames that may still be worked off in this turn."""
        self.unfinished = 0
        """Bytes of messages that are not whole yet."""
        self.waiting: deque[Waiting] = deque()
        self.budget = WorkBudget()
        self.rests_until = 0.0
        """Before this nothing is worked off: too many large messages came."""
        self.resting = False
        """Whether its links are called when that is over."""
        self.fading = False
        """Whether it is without links, and forgotten when nothing needs to be remembered of it."""

    def charge(self, work: float, now: float) -> None:
        """A message took so many seconds to work off, or will."""
        rests_until = self.budget.rest_after(work, now)
        if rests_until > now:
            self.rests_until = rests_until
            self.left = 0

    def renew(self, now: float) -> None:
        """A new turn begins; links that wait already come first in it."""
        self.tick = now
        if self.waiting or self.rests_until > now:
            self.left = min(self.left, 0)
        else:
            self.earn()

    def earn(self) -> None:
        """One turn's frames; what was taken beyond those of earlier turns is paid back first."""
        self.left = min(FRAMES, self.left + FRAMES)


class _Request:
    """A request over HTTP that waits for its agent's next turn."""

    __slots__ = ("_share", "called")

    def __init__(self, share: Share, called: Future[None]) -> None:
        self._share = share
        self.called = called
        """Done when it is its turn."""

    def go_on(self, now: float) -> None:
        """It is its turn, if it is still waited for."""
        if not self.called.done():
            self._share.left -= REQUEST
            self.called.set_result(None)


class Fairness:
    """The shares of all agents that have links, and the turns of those with more input than one turn allows."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._shares: dict[str, Share] = {}
        self._crowded: dict[Share, None] = {}
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._shares)

    def join(self, agent_id: str) -> Share:
        """The share of a new link of an agent."""
        share = self._shares.get(agent_id)
        if share is None:
            share = self._shares[agent_id] = Share()
        share.links += 1
        return share

    def leave(self, agent_id: str) -> None:
        """A link of an agent is gone."""
        share = self._shares[agent_id]
        share.links -= 1
        self._forget(agent_id)

    def _forget(self, agent_id: str) -> None:
        share = self._shares[agent_id]
        if share.links or share.fading:
            return
        if share.budget.full_at <= self._loop.time():
            del self._shares[agent_id]
        else:  # a link that is opened anew for each large message is no way round
            share.fading = True
            self._loop.call_at(share.budget.full_at, self._faded, agent_id)

    def _faded(self, agent_id: str) -> None:
        self._shares[agent_id].fading = False
        self._forget(agent_id)

    def charge(self, agent_id: str, work: float, now: float) -> None:
        """An agent had a message worked off for it, by whatever way it came."""
        share = self._shares.get(agent_id)
        if share is None:
            share = self._shares[agent_id] = Share()
        share.charge(work, now)
        self._forget(agent_id)

    def work_off(self, session: Session, frame: bytes, now: float, paid: float = 0.0) -> None:
        """Hand a frame to a session, and count what it took for who asked for it; `paid` was counted while it came."""
        if len(frame) < MEASURED:
            session.receive(frame, now)
            return
        began = thread_time()
        payer = session.receive(frame, now)
        work = max(thread_time() - began, expected(len(frame)))
        self.charge(session.agent_id if payer is None else payer, work - paid, now)

    async def rested(self, share: Share, work: float) -> None:
        """Wait until an agent may have something worked off that will take so many seconds, and count it."""
        if share.rests_until > self._loop.time():
            waiting = _Request(share, self._loop.create_future())
            self.wait(share, waiting)
            await waiting.called
        share.charge(work, self._loop.time())

    def wait(self, share: Share, link: Waiting) -> None:
        """Give a link a turn after everybody else had one."""
        share.waiting.append(link)
        self._call(share)

    def _call(self, share: Share) -> None:
        """Have a share's links take their turn in the next round, or when it has rested."""
        if share.resting:
            return
        if share.rests_until > self._loop.time():
            share.resting = True
            self._loop.call_at(share.rests_until, self._rested, share)
            return
        self._crowded[share] = None
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _rested(self, share: Share) -> None:
        share.resting = False
        if share.waiting:
            self._call(share)

    async def request(self, agent_id: str) -> None:
        """Wait until one more request over HTTP is this agent's due, on however many connections its requests come."""
        share = self.join(agent_id)
        try:
            now = self._loop.time()
            if share.tick != now:
                share.renew(now)
            if share.left > 0:
                share.left -= REQUEST
            else:
                waiting = _Request(share, self._loop.create_future())
                self.wait(share, waiting)
                await waiting.called
        finally:
            # Those that come within the same turn of the event loop count together.
            self._loop.call_soon(self.leave, agent_id)

    def _turn(self) -> None:
        now = self._loop.time()
        crowded, self._crowded = self._crowded, {}
        try:
            for share in crowded:
                share.tick = now
                if share.rests_until <= now:
                    share.earn()
                for _ in range(len(share.waiting)):
                    if share.left <= 0:
                        break
                    share.waiting.popleft().go_on(now)
        finally:  # whatever happens to one of them, the others have their turns
            self._scheduled = False
            for share in crowded:
                if share.waiting:
                    self._call(share)
