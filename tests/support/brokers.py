"""How the fixtures of conftest.py hand out brokers: called with settings, they give a broker that has them."""

from collections.abc import Callable

from support.peers import Broker

Brokers = Callable[..., Broker]
