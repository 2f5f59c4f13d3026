"""What keeps us from a peer or from its answer: one typed error for everything that goes out."""

from enum import Enum, auto


class NetFault(Enum):
    """What went wrong, for whoever has to act on it or find words for it."""

    UNREACHABLE = auto()
    """The name is not known, nobody listens there, or nobody answers in time."""
    NO_TLS = auto()
    """Somebody listens, and does not speak TLS."""
    CERTIFICATE = auto()
    """Its certificate is not trusted; the detail is OpenSSL's reason."""
    PROXY_FAILED = auto()
    """The proxy on the way cannot be used; the detail begins with where it is."""
    PRIVATE_ADDRESS = auto()
    """None of its addresses is allowed; the detail says what would allow it."""
    FAKE_ADDRESS = auto()
    """A proxy program made its address up; the detail says what would allow it."""
    REDIRECTED = auto()
    """It leads to another place, and nothing is sent there."""
    CONNECTION_LOST = auto()
    """The connection ended, or fell silent, before the answer was complete."""
    TOO_LONG = auto()
    """What it sends is over the limit."""
    ENCODED_TWICE = auto()
    """The body of its answer is compressed more than once, and is not unpacked."""


class NetError(Exception):
    """Something went wrong on the way to a peer or back. `detail` has no secrets, and may be a peer's own words."""

    def __init__(self, fault: NetFault, detail: str = "") -> None:
        name = fault.name.lower()
        super().__init__(f"{name}: {detail}" if detail else name)
        self.fault = fault
        self.detail = detail
