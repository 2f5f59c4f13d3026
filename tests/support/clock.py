"""Time on the clock of the wall: that something took as long as a setting says, never that it was quick."""

import contextlib
from collections.abc import Iterator
from time import monotonic


@contextlib.contextmanager
def takes(least: float, less_than: float) -> Iterator[None]:
    """The block takes at least `least` seconds, and fewer than it would take if what is tested were ignored.

    That is another deadline, most often the default, and far enough from `least` for the slowest of machines.
    """
    began = monotonic()
    yield
    assert least <= monotonic() - began < less_than
