"""Which language is chosen, by whom."""

import pytest

from mcp_endpoint.language import Bilingual, Language, UnknownLanguage, choose, read


@pytest.mark.parametrize(
    ("option", "environ", "system", "settings", "due"),
    [
        ("en", {"MCP_ENDPOINT_LANG": "zh", "LC_ALL": "zh_CN.UTF-8"}, "zh_CN", "zh", "en"),
        ("zh", {"MCP_ENDPOINT_LANG": "klingon"}, None, "en", "zh"),
        (None, {"MCP_ENDPOINT_LANG": "zh", "LC_ALL": "en_US.UTF-8"}, None, "en", "zh"),
        (None, {"MCP_ENDPOINT_LANG": " EN ", "LANG": "zh_CN.UTF-8"}, None, "zh", "en"),
        (None, {"MCP_ENDPOINT_LANG": "", "LANG": "zh_CN.UTF-8"}, None, "en", "zh"),
        # The first variable that is not empty is the locale, even where a later one names a language.
        (None, {"LC_ALL": "zh_TW", "LC_MESSAGES": "de_DE", "LANG": "en_US"}, None, "en", "zh"),
        (None, {"LC_ALL": "", "LC_MESSAGES": "de_DE", "LANG": "zh_CN"}, None, "zh", "en"),
        (None, {"LC_MESSAGES": "", "LANG": "zh"}, None, "en", "zh"),
        (None, {"LC_CTYPE": "zh_CN.UTF-8", "LANGUAGE": "zh"}, None, "en", "en"),
        (None, {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, None, "en", "en"),
        # Any language but Chinese is read as English.
        (None, {"LANG": "fr_FR.UTF-8@euro"}, None, "zh", "en"),
        (None, {"LANG": "zh-Hans"}, None, "en", "zh"),
        (None, {"LANG": "zha_CN"}, None, "zh", "en"),
        (None, {"LANG": "Chinese_China.936"}, None, "en", "zh"),
        # A locale that names no language leaves it to the system, and that to the settings.
        *((None, {"LANG": name}, None, "zh", "zh") for name in ("C", "POSIX", "C.UTF-8", "C.utf8", "c", "posix", "")),
        (None, {"LANG": "C.UTF-8"}, None, "en", "en"),
        (None, {}, None, "zh", "zh"),
        (None, {}, "zh_CN", "en", "zh"),
        (None, {}, "de_DE", "zh", "en"),
        (None, {"LANG": "en_GB"}, "zh_CN", "zh", "en"),
    ],
)
def test_the_first_that_says_something_counts(
    option: Language | None, environ: dict[str, str], system: str | None, settings: Language, due: Language
) -> None:
    assert choose(option, environ, system, settings) == due


@pytest.mark.parametrize("word", ["de", "zh_CN", "english", "\x1b[2Jzh"])
def test_what_is_no_language_is_told_in_the_one_that_is_read_or_in_both(word: str) -> None:
    with pytest.raises(UnknownLanguage, match=r"^应为 zh 或 en / must be zh or en$"):
        read(word)
    with pytest.raises(UnknownLanguage, match=r"^MCP_ENDPOINT_LANG = '.*'：应为 zh 或 en / MCP") as caught:
        choose(None, {"MCP_ENDPOINT_LANG": word}, None, "en")
    assert "\x1b" not in str(caught.value)
    with pytest.raises(UnknownLanguage, match=r"^MCP_ENDPOINT_LANG = '.*': must be zh or en$"):
        choose(None, {"MCP_ENDPOINT_LANG": word, "LANG": "en_GB.UTF-8"}, "zh_CN", "zh")
    with pytest.raises(UnknownLanguage, match=r"^MCP_ENDPOINT_LANG = '.*'：应为 zh 或 en$"):
        choose(None, {"MCP_ENDPOINT_LANG": word}, "zh_CN", "en")


def test_a_text_for_its_reader() -> None:
    text = Bilingual("是", "yes")
    assert (text.to("zh"), text.to("en")) == ("是", "yes")
