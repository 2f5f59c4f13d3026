"""Members of an entry that say how its URL is reached, read and made fit: pure."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.net.proxies import Proxy
from mcp_endpoint.providers.entries.entry import Server, expanded, read_entry
from mcp_endpoint.providers.entries.headers import fit_headers
from mcp_endpoint.providers.entries.members import BadEntry
from mcp_endpoint.providers.entries.url_access import OAuthClient, route_of
from mcp_endpoint.providers.factory import SourceContext, make_source
from mcp_endpoint.providers.source import Stopped, StopReason


def entry(**members: object) -> Server:
    return read_entry("x", {"url": "https://x.example/mcp", **members})


# --- proxies ---


@pytest.mark.parametrize(
    "text", ["ftp://x", "http://", "http://x:99999", "socks4://x:1", "http://a:0", "http://[", "://"]
)
def test_no_proxy_at_all(text: str) -> None:
    with pytest.raises(BadEntry, match="must be a URL") as bad:
        entry(proxy=text)
    assert bad.value.member == "proxy"
    assert bad.value.zh


def test_a_bad_proxy_does_not_repeat_its_password() -> None:
    with pytest.raises(BadEntry) as bad:
        entry(proxy="ftp://me:sesame@x")
    assert "sesame" not in str(bad.value) + bad.value.zh
    assert "sesame" not in repr(entry(proxy="http://me:sesame@x"))


@pytest.mark.parametrize("said", [None, "", " ", False, "${NO_SUCH:-}"])
def test_the_direct_way(said: object) -> None:
    server = expanded(entry(proxy=said), {"HTTPS_PROXY": "http://p:1"})
    assert route_of(server.access.proxy, {"HTTPS_PROXY": "http://p:1"})("https", "x", 443) is None


def test_a_proxy_out_of_a_variable() -> None:
    server = expanded(entry(proxy="${MINE}"), {"MINE": "http://p.lan:1\n"})
    assert route_of(server.access.proxy, {})("https", "x", 443) == Proxy("http", "p.lan", 1)
    with pytest.raises(BadEntry):
        route_of(expanded(entry(proxy="${MINE}"), {"MINE": "gopher://p"}).access.proxy, {})


def test_a_proxy_of_the_entry_is_for_all() -> None:
    route = route_of("http://p.lan:1", {"NO_PROXY": "*"})
    assert route("https", "x.example", 443) == Proxy("http", "p.lan", 1)


def test_what_the_environment_says() -> None:
    environ = {"https_proxy": "http://a:1", "HTTP_PROXY": "b:2", "NO_PROXY": "lan,10.0.0.0/8"}
    route = route_of(True, environ)
    assert route("https", "x.example", 443) == route("wss", "x.example", 443) == Proxy("http", "a", 1)
    assert route("ws", "x.example", 80) == Proxy("http", "b", 2)
    assert route("https", "nas.lan", 443) is None
    assert route("https", "10.1.2.3", 443) is None
    assert route_of(True, {"ALL_PROXY": "socks5://c"})("https", "x", 443) == Proxy("socks5", "c", 1080)
    assert route_of(True, {})("https", "x", 443) is None
    with pytest.raises(BadEntry):
        route_of(True, {"HTTPS_PROXY": "gopher://x"})


# --- headers ---


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\n", "\ufeff", "\u200b\n", "\xa0"])
def test_blank_ends_of_what_is_put_in_are_cut(end: str) -> None:
    server = entry(headers={"Authorization": "Bearer ${KEY}", "X-Key": f"a{end}", "X-Two": "${KEY:-x}"})
    headers = fit_headers(expanded(server, {"KEY": f"sesame{end}"}).headers)
    assert headers == {"Authorization": "Bearer sesame", "X-Key": "a", "X-Two": "sesame"}


def test_a_variable_of_blanks_is_an_empty_one() -> None:
    assert expanded(entry(headers={"a": "${KEY:-else}"}), {"KEY": "\n"}).headers == {"a": "else"}


@pytest.mark.parametrize("value", ["ses\name", "ses\rame", "ses\0ame", "ses\x7fame", "sesame：x", "“sesame”"])
def test_what_cannot_be_a_header_is_told_by_its_name(value: str) -> None:
    with pytest.raises(BadEntry) as bad:
        fit_headers({"X-Good": "1", "X-Api-Key": value})
    told = f"{bad.value.member} {bad.value.en} {bad.value.zh}"
    assert "X-Api-Key" in told
    assert "ses" not in told


def test_a_line_that_was_pasted_as_a_name_is_not_repeated() -> None:
    with pytest.raises(BadEntry) as bad:
        fit_headers({"Authorization: Bearer sesame": ""})
    assert "Authorization" in bad.value.member
    assert "sesame" not in bad.value.member


def test_what_belongs_to_one_message_is_left_out() -> None:
    pasted = {
        "Authorization:": "t",
        "Content-Length": "5",
        "Connection": "close",
        "Mcp-Session-Id": "1",
        "Accept": "*/*",
    }
    assert fit_headers(pasted) == {"Authorization": "t", "Accept": "*/*"}


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=4))
def test_what_is_left_can_be_sent(headers: dict[str, str]) -> None:
    try:
        fit = fit_headers(headers)
    except BadEntry:
        return
    for name, value in fit.items():
        assert re.fullmatch(r"[!-~]+", name)
        assert re.fullmatch(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?", value)
    assert fit_headers(fit) == fit


# --- certificates ---


async def test_certificates_that_are_none_are_a_fault_of_the_entry(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="ca: No such file") as stopped:
        make_source(entry(ca="none.pem"), SourceContext({}, tmp_path))
    assert stopped.value.why is StopReason.BAD_ENTRY


# --- OAuth ---


def test_an_oauth_client_in_each_spelling() -> None:
    server = entry(oauth={"client_id": "${ID}", "client_secret": "${S}", "scope": "a b"})
    assert expanded(server, {"ID": "me", "S": "sesame\n"}).access.oauth == OAuthClient("me", "sesame", "a b")
    other = entry(
        oauth={"clientId": "me", "clientSecret": "s", "scopes": ["a", "b"], "redirectUri": "http://localhost/x"}
    )
    assert other.access.oauth == OAuthClient("me", "s", "a b", "http://localhost/x")
    assert entry(oauth=True).access.oauth is entry().access.oauth is None
    assert "sesame" not in repr(expanded(server, {"ID": "me", "S": "sesame"}))


@pytest.mark.parametrize(
    ("oauth", "member"),
    [("x", "oauth"), ({"client_id": 5}, "oauth.client_id"), ({"client_secret": "sesame"}, "oauth.client_id")],
)
def test_an_oauth_client_that_is_none(oauth: object, member: str) -> None:
    with pytest.raises(BadEntry) as bad:
        entry(oauth=oauth)
    assert bad.value.member == member
    assert "sesame" not in str(bad.value)
