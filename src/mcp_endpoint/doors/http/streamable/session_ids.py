"""Ids of HTTP sessions: random, and signed for their agent, so that the broker knows its own after a restart.

An id is text of RUN + SECRET random bytes and their signature under the broker's key. The first RUN of them are those
of one run of the program: of its own ids it knows which sessions there are, of another run's it cannot.
"""

import base64
import binascii
import hashlib
import hmac
import secrets

RUN = 6
SECRET = 24
"""Random bytes of one session: whoever knows its id and has the agent's token has the session."""
SIGNATURE = 15


class SessionIds:
    """The ids of one run of the broker, and those of earlier ones under the same key."""

    def __init__(self, key: str) -> None:
        # A key of its own: what is signed here can be no token, nor the other way round.
        self._key = hmac.digest(key.encode(), b"mcp-endpoint: ids of HTTP sessions", hashlib.sha256)
        self._run = secrets.token_bytes(RUN)

    def new(self, agent_id: str) -> str:
        """An id for a session of this agent."""
        random = self._run + secrets.token_bytes(SECRET)
        return base64.urlsafe_b64encode(random + self._signature(random, agent_id)).decode()

    def is_of_another_run(self, id_: str, agent_id: str) -> bool:
        """Whether another run of a broker with this key gave this id to a session of this agent."""
        try:
            data = base64.urlsafe_b64decode(id_.encode())
        except (ValueError, binascii.Error):
            return False
        random, signature = data[: RUN + SECRET], data[RUN + SECRET :]
        if len(data) != RUN + SECRET + SIGNATURE or base64.urlsafe_b64encode(data).decode() != id_:
            return False
        return random[:RUN] != self._run and hmac.compare_digest(signature, self._signature(random, agent_id))

    def _signature(self, random: bytes, agent_id: str) -> bytes:
        return hmac.digest(self._key, random + agent_id.encode(), hashlib.sha256)[:SIGNATURE]
