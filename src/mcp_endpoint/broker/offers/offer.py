"""What a tool side offers: its definitions, as it gave them."""

from collections.abc import Mapping
from typing import NamedTuple

from mcp_endpoint.wire.mcp import Kind

PAGE_BYTES = 1_048_576 - 4_096
"""A list answer stays below 1 MiB, the smallest buffer among clients, with room for its frame."""


class Offer(NamedTuple):
    """One tool, prompt, resource or template as its tool side defines it; a resource's name is its URI."""

    name: str
    definition: bytes


Offers = Mapping[Kind, tuple[Offer, ...]]
"""What a tool side has, by kind."""


def names_of(offers: Offers, kind: Kind = Kind.TOOLS) -> frozenset[str]:
    """The tool side's own names of one kind; those of its tools tell two programs of one name apart."""
    return frozenset(offer.name for offer in offers.get(kind, ()))


def definition_of(offers: Offers, name: str) -> bytes:
    """The definition of a tool by its tool side's own name; empty if there is none."""
    return next((offer.definition for offer in offers.get(Kind.TOOLS, ()) if offer.name == name), b"")
