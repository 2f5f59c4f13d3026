"""Public names: a tool's own while it is unique, else with its alias, whatever came first."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode, encode

from mcp_endpoint.broker.agent_state.catalogue import Catalogue
from mcp_endpoint.broker.offers.naming import MAX_NAME, clean, slug
from mcp_endpoint.broker.offers.offer import PAGE_BYTES, Offer
from mcp_endpoint.broker.tool_side.program import Registration
from mcp_endpoint.wire.mcp import Kind


def registration(alias: str, *names: str) -> Registration:
    one = Registration("owner", alias, alias)
    one.offers = {Kind.TOOLS: tuple(Offer(name, encode({"name": name, "description": f"{alias}'s"})) for name in names)}
    return one


def names(*registrations: Registration) -> dict[str, tuple[str, str]]:
    return {
        public: (entry.registration.alias, entry.name)
        for public, entry in Catalogue(registrations)[Kind.TOOLS].entries.items()
    }


def test_unique_names_stay_as_they_are() -> None:
    assert names(registration("home", "lamp"), registration("work", "mail.send")) == {
        "lamp": ("home", "lamp"),
        "mail.send": ("work", "mail.send"),
    }


def test_every_holder_of_a_name_is_prefixed() -> None:
    for order in permutations([registration("home", "lamp", "on"), registration("work", "lamp")]):
        assert names(*order) == {"home__lamp": ("home", "lamp"), "on": ("home", "on"), "work__lamp": ("work", "lamp")}


def test_names_that_collide_only_after_cleaning_collide() -> None:
    public = names(registration("home", "mail.send"), registration("work", "mail_send"))
    assert public == {"home__mail.send": ("home", "mail.send"), "work__mail_send": ("work", "mail_send")}


def test_two_of_one_tool_side_that_collide_after_cleaning_get_a_mark() -> None:
    public = names(registration("home", "a.b", "a_b"))
    assert len({clean(name) for name in public}) == 2
    assert set(public.values()) == {("home", "a.b"), ("home", "a_b")}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "a__b", "智能家居", "x" * 32]),
            st.sets(st.sampled_from(["t", "b__t", "t.t", "t_t", "开灯", "y" * 70]), max_size=4),
        ),
        max_size=4,
        unique_by=lambda one: one[0],
    )
)
def test_every_tool_has_one_name_that_survives_cleaning(parts: list[tuple[str, set[str]]]) -> None:
    registrations = [registration(alias, *sorted(tools)) for alias, tools in parts]
    public = names(*registrations)
    assert sorted(public.values()) == sorted((alias, tool) for alias, tools in parts for tool in tools)
    assert len({clean(name) for name in public}) == len(public)
    assert all(len(name) <= MAX_NAME for name, (_, own) in public.items() if name != own)
    assert names(*reversed(registrations)) == public
    for name, raw in zip(public, Catalogue(registrations)[Kind.TOOLS].definitions, strict=True):
        assert decode(raw[1])["name"] == name


def test_a_name_is_found_as_shown_and_as_cleaned() -> None:
    catalogue = Catalogue([registration("home", "mail.send")])[Kind.TOOLS]
    assert catalogue.find("mail.send") == catalogue.find("mail_send") is not None
    assert catalogue.find("mail") is None


def test_pages_hold_every_definition_once_and_stay_below_the_smallest_buffer() -> None:
    big = registration("home")
    tools = tuple(Offer(f"t{n}", encode({"name": f"t{n}", "description": "x" * 300_000})) for n in range(8))
    big.offers = {Kind.TOOLS: tools}
    pages = Catalogue([big])[Kind.TOOLS].pages()
    assert b",".join(pages) == b",".join(tool.definition for tool in tools)
    assert all(len(page) <= PAGE_BYTES for page in pages)
    assert len(pages) == 3
    assert Catalogue()[Kind.TOOLS].pages() == [b""]


def test_slugs_are_clean_and_short() -> None:
    assert slug("My Tools / 家") == "My_Tools___家"
    assert slug("") == "tools"
    assert len(slug("x" * 99)) == 32
