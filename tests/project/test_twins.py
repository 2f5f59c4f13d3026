"""Each page for users is there in English and in Chinese, with the same headings, code, tables, links and names."""

import re
from collections import Counter

import pytest

from mcp_endpoint.settings.schema import Language
from support.documents import (
    FENCE,
    FOR_USERS,
    LANGUAGES,
    anchors,
    headings,
    links,
    page_text,
    spans,
    tables,
)

NAMES = [name for name, pages in FOR_USERS.items() if all(page.exists() for page in pages.values())]

both = pytest.mark.parametrize("name", NAMES)


def in_both(name: str) -> tuple[str, str]:
    english, chinese = (page_text(FOR_USERS[name][language]) for language in LANGUAGES)
    return english, chinese


def test_every_page_for_users_has_its_twin() -> None:
    assert [name for name in FOR_USERS if name not in NAMES] == []
    assert len(NAMES) > 10


@both
def test_each_leads_to_the_other_at_its_top(name: str) -> None:
    english, chinese = (FOR_USERS[name][language].name for language in LANGUAGES)
    assert links(in_both(name)[0])[0] == chinese
    assert links(in_both(name)[1])[0] == english


@both
def test_both_have_the_same_headings(name: str) -> None:
    english, chinese = ([level for level, _ in headings(text)] for text in in_both(name))
    assert english
    assert english == chinese


@both
def test_both_have_the_same_code_but_for_its_comments(name: str) -> None:
    english, chinese = (
        [
            (match["kind"], re.sub(r"(?:^|\s+)#\s.*", "", match["body"], flags=re.MULTILINE))
            for match in FENCE.finditer(text)
        ]
        for text in in_both(name)
    )
    assert [kind for kind, _ in english] == [kind for kind, _ in chinese]
    # What commands print (`text`) is printed in the reader's language.
    assert [code for kind, code in english if kind != "text"] == [code for kind, code in chinese if kind != "text"]


@both
def test_both_have_the_same_tables_with_their_rows_in_the_same_order(name: str) -> None:
    english, chinese = (
        [[(len(row), sorted(spans(row[0]))) for row in table] for table in tables(FOR_USERS[name][language])]
        for language in LANGUAGES
    )
    assert english == chinese


@both
def test_both_name_the_same_things(name: str) -> None:
    """Settings, commands, files, values: each page has all that its twin has, whatever is said of them."""
    english, chinese = ({word for word in spans(text) if word.isascii()} for text in in_both(name))
    assert english == chinese


@both
def test_links_lead_to_the_same_places_in_the_same_language(name: str) -> None:
    english, chinese = (
        Counter(place(name, language, target) for target in links(text)[1:])
        for language, text in zip(LANGUAGES, in_both(name), strict=True)
    )
    assert english == chinese


def place(name: str, language: Language, target: str) -> tuple[str, int]:
    """The page that a link leads to, by its name, and which of its headings."""
    file, _, anchor = target.partition("#")
    there = file.rpartition("/")[2].removesuffix(".md").removesuffix(".zh-CN") if file else name
    if there not in FOR_USERS:
        return target, 0
    page = FOR_USERS[there][language]
    assert not file or file.endswith(page.name), f"{target} is not of this language"
    return there, anchors(page_text(page)).index(anchor) if anchor else 0
