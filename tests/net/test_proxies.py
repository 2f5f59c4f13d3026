"""Which proxy a text names, and for which hosts NO_PROXY leaves it out: pure."""

import pytest

from mcp_endpoint.net.proxies import Proxy, is_left_out, read_proxy


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://127.0.0.1:7890", Proxy("http", "127.0.0.1", 7890)),
        (" 127.0.0.1:7890 ", Proxy("http", "127.0.0.1", 7890)),
        ("proxy.lan", Proxy("http", "proxy.lan", 80)),
        ("HTTPS://me:p%40ss@proxy.lan/", Proxy("https", "proxy.lan", 443, "me", "p@ss")),
        ("socks5h://[::1]:1081", Proxy("socks5", "::1", 1081)),
        ("socks5://h", Proxy("socks5", "h", 1080)),
    ],
)
def test_a_proxy(text: str, proxy: Proxy) -> None:
    assert read_proxy(text) == proxy


@pytest.mark.parametrize(
    "text", ["ftp://me:sesame@x", "http://", "http://x:99999", "socks4://x:1", "http://a:0", "://"]
)
def test_no_proxy_at_all(text: str) -> None:
    with pytest.raises(ValueError, match="must be a URL") as bad:
        read_proxy(text)
    assert "sesame" not in str(bad.value)


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("a.example", "*"),
        ("a.example", "a.example"),
        ("A.Example.", "a.EXAMPLE"),
        ("b.a.example", "a.example"),
        ("b.a.example", ".a.example"),
        ("b.a.example", "*.a.example"),
        ("a.example", "x, a.example:443"),
        ("a.example", "x a.example"),
        ("127.0.0.1", "localhost,127.0.0.1"),
        ("10.9.8.7", "10.0.0.0/8"),
        ("::1", "[::1]"),
        ("fd00::1", "fd00::/8"),
    ],
)
def test_hosts_that_no_proxy_is_for(host: str, no_proxy: str) -> None:
    assert is_left_out(host, 443, no_proxy)


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [("a.example", ""), ("ba.example", "a.example"), ("a.example", "a.example:80"), ("11.0.0.1", "10.0.0.0/8")],
)
def test_hosts_that_go_through_it(host: str, no_proxy: str) -> None:
    assert not is_left_out(host, 443, no_proxy)
