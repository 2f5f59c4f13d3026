"""What a provider's server says of its tools, as the broker shall hear it: checked, chosen, renamed, and pinned.

The definitions of a third party end up in a model's prompt. What is no name, or hides control characters, is left out
or cleaned; the rest stays the bytes it came in.
"""

import re
from collections.abc import Callable, Container, Mapping

from msgspec import Raw
from msgspec.json import decode, encode

from mcp_endpoint.broker.offers.offer import Offer
from mcp_endpoint.broker.offers.tool_filter import ToolFilter, Unmatched, named, unmatched
from mcp_endpoint.providers.entries.entry import Tools
from mcp_endpoint.providers.jobs.job_tasks import marked
from mcp_endpoint.settings.schema import AgentSettings
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.definitions.client_views import without_output
from mcp_endpoint.wire.definitions.definition_repair import LONGEST_NAMES, repair_definition
from mcp_endpoint.wire.definitions.flaws import Flaw, FlawAt, Remark
from mcp_endpoint.wire.envelope import members

MOST_DEFINITIONS = 5000
"""Definitions of one page that are looked at, good or bad: a page of megabytes may have a million of them, and to look
at those would hold up everybody."""
LONGEST_NAME = LONGEST_NAMES[mcp.Kind.TOOLS]
LONGEST_DESCRIPTION = 16_384
"""Characters of a description that are passed on."""

# Letters of every script are fine, and so are line breaks and tabs; the rest of the controls, and the marks that turn
# the direction of text or are not to be seen, can show a reader something else than a model reads.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
_IN_NAMES = re.compile(r"[\t\n\r]")


Withhold = Callable[[Mapping[str, bytes]], Container[str]]
"""Is shown the definitions of a page by name; says which of them are withheld."""


class Definitions:
    """The tools of one server: what it has under which name, after the choice that its entry in the file makes."""

    def __init__(self, alias: str, tools: Tools) -> None:
        self._alias = alias
        self._filter = ToolFilter(
            AgentSettings.model_construct(
                tools_from=(),
                allow=tools.allow,
                deny=tools.deny,
                rename=dict(tools.rename),
                describe=dict(tools.describe),
            )
        )
        self._named = named(tools, "allow", "deny", "rename", "describe", "background")
        self._looked: list[str] = []
        self.unmatched = Unmatched()
        """What its entry says of tools that are not on the last list."""
        self._own_names: dict[str, str] = {}
        self._coming: dict[str, str] = {}
        """Those of the list that is asked for: until its end, what was shown before can be called as well."""
        self.left_out = 0
        """Definitions of the last list that are no tools."""
        self.remarks: list[Remark] = []
        """What there is to tell of those on the last page."""

    def page(
        self,
        result: Raw,
        withhold: Withhold,
        as_task: Callable[[str], bool] = lambda own: False,
        may_take_long: Callable[[str], bool] = lambda own: False,
    ) -> bytes:
        """A page of its list as the broker is to see it: without what is no tool, hidden, or withheld by `withhold`.

        Of which tools, by their own names, a call may become a task, `as_task` says; of which it may become a job, so
        that its answer is not what the tool promises, `may_take_long`.
        """
        read = mcp.read_page(mcp.Kind.TOOLS, result)
        page = members(result)
        if read is None or page is None:
            return bytes(result)
        looked = [checked(raw) for raw in read[0][:MOST_DEFINITIONS]]
        offers = [one for one in looked if isinstance(one, Offer)]
        self.remarks = [
            one._replace(name=one.name or f"#{place}") for place, one in enumerate(looked, 1) if isinstance(one, Remark)
        ]
        self.left_out += len(read[0]) - len(offers)
        self._looked += [offer.name for offer in offers]
        if read[1] is None and self._named:
            self.unmatched = unmatched(self._named, ((self._alias, name) for name in self._looked))
        withheld = withhold({offer.name: offer.definition for offer in offers})
        shown: list[Raw] = []
        for offer in offers:
            published = None if offer.name in withheld else self._filter.publish(self._alias, offer)
            if published is not None:
                public, definition = published
                self._coming[public] = offer.name
                if may_take_long(offer.name):
                    definition = without_output(definition)
                shown.append(Raw(marked(definition) if as_task(offer.name) else definition))
        if read[1] is None:
            self._own_names = self._coming
        return encode(page | {"tools": Raw(encode(shown))})

    def own_names(self) -> dict[str, str]:
        """Name as shown → as the server calls it."""
        return self._own_names | self._coming

    def own_name(self, shown: str) -> str | None:
        """What the server calls a tool; None if there is none that is shown under that name."""
        return self._coming.get(shown) or self._own_names.get(shown)

    def begin(self) -> None:
        """A new list begins."""
        self._coming = {}
        self._looked = []
        self.left_out = 0


def checked(raw: Raw) -> Offer | Remark:
    """One definition with nothing hidden in its texts; or why it is no tool that could be called."""
    definition = members(raw)
    name = mcp.string(definition.get("name")) if definition is not None else None
    if definition is None or not name or len(name) > LONGEST_NAME:
        return Remark("", True, repair_definition(mcp.Kind.TOOLS, raw).flaws or (FlawAt(Flaw.NO_NAME, "name"),))
    if _CONTROLS.search(name) or _IN_NAMES.search(name):
        return Remark(name, True, (FlawAt(Flaw.HIDDEN_CHARACTERS, "name"),))
    cleaned = {
        member: Raw(encode(clean(text)))
        for member in ("description", "title")
        if (text := mcp.string(definition.get(member))) is not None and clean(text) != text
    }
    return Offer(name, encode(definition | cleaned) if cleaned else bytes(raw))


def clean(text: str) -> str:
    """A description without what cannot be seen, and no longer than LONGEST_DESCRIPTION."""
    text = _CONTROLS.sub("", text)
    return text if len(text) <= LONGEST_DESCRIPTION else f"{text[:LONGEST_DESCRIPTION]}…"


def canonical(definition: bytes) -> bytes:
    """The same for two spellings of one definition: what a pin is the hash of."""
    return encode(decode(definition), order="sorted")
