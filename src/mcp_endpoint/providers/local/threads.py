"""Threads for functions that block: a bounded number, and none of them can hold up the end of the program.

The standard pool waits at the interpreter's exit for every thread it has, so one function that never returns would keep
a stopped broker alive. These are daemon threads, one for each call.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class Threads:
    """At most `most` threads at a time; what comes beyond waits for its turn, for as long as its caller does."""

    def __init__(self, most: int, name: str) -> None:
        self._places = asyncio.Semaphore(most)
        self._name = name

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run `work` in a thread and return or raise what it does.

        A cancellation ends the waiting, never the thread: it keeps its place until it ends by itself.
        """
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Result] = loop.create_future()
        context = contextvars.copy_context()

        def settle(result: list[Result], error: BaseException | None) -> None:
            self._places.release()
            if outcome.done():
                return
            if error is None:
                outcome.set_result(result[0])
            else:
                outcome.set_exception(RuntimeError(str(error)) if isinstance(error, StopIteration) else error)

        def body() -> None:
            result: list[Result] = []
            failure: BaseException | None = None
            try:
                result.append(context.run(work))
            except BaseException as error:  # noqa: BLE001  the thread ends here, and its caller is told
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, failure)

        threading.Thread(target=body, name=self._name, daemon=True).start()
        return await outcome
