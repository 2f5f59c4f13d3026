"""What a value in the settings may look like: one pydantic validator per kind of value.

Every kind reads the text of the settings file or of an environment variable as well as a ready Python value, and raises
`NotAllowedError` with what is allowed, in English and Chinese, so that one line can tell the user what to write.
"""

import ipaddress
import math
import re
from collections.abc import Callable

from pydantic import BeforeValidator

KB = 1024
MB = 1024 * KB
GB = 1024 * MB
DAY = 86400.0
LONGEST_NAME = 64
"""Characters a tool's public name may have (docs/protocol.md, section 10.1)."""

_UNITS = {"": 1, "b": 1, "kb": KB, "mb": MB, "gb": GB}
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_SHORTEST = 0.01
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_AUTHORITY = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:,*\[\]\\\"<>]+)"
_ORIGIN = re.compile(rf"([a-z][a-z0-9+.-]*)://({_AUTHORITY})(?::([0-9]{{1,5}}))?")
_PUBLIC_URL = re.compile(rf"(https?)://({_AUTHORITY}(?::([0-9]{{1,5}}))?)((?:/[^\s?#\\\"<>]*)?)", re.IGNORECASE)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class NotAllowedError(ValueError):
    """A value outside what is allowed; `en` and `zh` say what is."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(f"{en} / {zh}")
        self.en = en
        self.zh = zh


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _has_control(text: str) -> bool:
    return any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text)


def whole(low: int, high: int) -> BeforeValidator:
    """A whole number from `low` to `high`, in plain digits."""

    def read(value: object) -> int:
        number = value
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value.strip()):
            number = int(value)
        if isinstance(number, int) and not isinstance(number, bool) and low <= number <= high:
            return number
        raise NotAllowedError(f"a whole number from {low} to {high}", f"{low} 到 {high} 的整数")

    return BeforeValidator(read)


def seconds(*, zero: bool = False) -> BeforeValidator:
    """A duration in seconds, 0.01 to one day; with `zero` also 0."""
    en = f"a number of seconds from {_SHORTEST:g} to {DAY:g}"
    zh = f"{_SHORTEST:g} 到 {DAY:g} 之间的秒数"

    def read(value: object) -> float:
        number = value
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", value.strip()):
            number = float(value)
        # nan fails every comparison, and so ends as refused
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            number = math.nan
        if _SHORTEST <= number <= DAY or (zero and number == 0):
            return float(number)
        raise NotAllowedError(f"0, or {en}", f"0 或 {zh}") if zero else NotAllowedError(en, zh)

    return BeforeValidator(read)


def size(high: int) -> BeforeValidator:
    """A number of bytes from 1KB to `high`, plain or with KB, MB or GB (1MB = 1,048,576 bytes)."""
    limit = f"{high // GB}GB"

    def read(value: object) -> int:
        number = value
        if match := re.fullmatch(r"([0-9]{1,15})\s*(b|kb|mb|gb)?", _text(value), re.IGNORECASE):
            number = int(match[1]) * _UNITS[(match[2] or "").lower()]
        if isinstance(number, int) and not isinstance(number, bool) and KB <= number <= high:
            return number
        raise NotAllowedError(
            f"a size from 1KB to {limit} in bytes, KB, MB or GB, such as 4096 or 10MB",
            f"1KB 到 {limit} 之间的大小，单位为字节、KB、MB 或 GB，例如 4096 或 10MB",
        )

    return BeforeValidator(read)


def flag() -> BeforeValidator:
    """true/false, yes/no, on/off or 1/0, in any case."""

    def read(value: object) -> bool:
        if isinstance(value, bool):
            return value
        word = _text(value).lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise NotAllowedError("true or false (also yes/no, on/off, 1/0)", "true 或 false（也可写 yes/no、on/off、1/0）")

    return BeforeValidator(read)


def one_of(*words: str, form: Callable[[str], str]) -> BeforeValidator:
    """One of `words`, in any case; `form` (str.upper, str.lower) gives the case they are in."""

    def read(value: object) -> str:
        word = form(_text(value))
        if word in words:
            return word
        listed = ", ".join(words)
        raise NotAllowedError(f"one of {listed}", f"{listed} 之一")

    return BeforeValidator(read)


def some_of(*known: str) -> BeforeValidator:
    """A comma separated list of some of `known`, in any case, each once. Empty for none."""

    def read(value: object) -> tuple[str, ...]:
        given = value.split(",") if isinstance(value, str) else value
        if isinstance(given, (list, tuple)) and all(isinstance(word, str) for word in given):
            stripped = [word.strip().lower() for word in given if word.strip()]
            if set(stripped) <= set(known):
                return tuple(dict.fromkeys(stripped))
        listed = ", ".join(known)
        raise NotAllowedError(f"some of {listed}, or empty", f"{listed} 中的若干项，或留空")

    return BeforeValidator(read)


def host() -> BeforeValidator:
    """An IPv4 or IPv6 address (brackets are taken off) or a host name to listen on."""

    def read(value: object) -> str:
        name = _text(value)
        bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            # digits and dots that are no address (1.2.3, 256.0.0.1) would be looked up as a name, and fail obscurely
            if bare == name and _HOST.fullmatch(name) and not re.fullmatch(r"[0-9.]+", name):
                return name
        else:
            return bare
        raise NotAllowedError(
            "an address or host name of this machine, such as 0.0.0.0 (every network) or 127.0.0.1 (this machine only)",
            "本机的地址或主机名，例如 0.0.0.0（所有网络）或 127.0.0.1（仅本机）",
        )

    return BeforeValidator(read)


def secret() -> BeforeValidator:
    """A key: any text that is not blank, encodes as UTF-8 and has no control characters."""

    def read(value: object) -> str:
        if isinstance(value, str) and value.strip() and not _has_control(value):
            try:
                value.encode()
            except UnicodeEncodeError:
                pass
            else:
                return value
        raise NotAllowedError(
            "a text that is not empty, valid UTF-8 and without line breaks or control characters",
            "非空、有效的 UTF-8 文本，且不含换行或控制字符",
        )

    return BeforeValidator(read)


def file_name() -> BeforeValidator:
    """The path of a file, or empty for none."""

    def read(value: object) -> str:
        if isinstance(value, str) and not _has_control(value):
            return value.strip()
        raise NotAllowedError(
            "a path without control characters, or empty for no file", "不含控制字符的文件路径，留空表示不写文件"
        )

    return BeforeValidator(read)


def public_url() -> BeforeValidator:
    """`http(s)://host[:port][/prefix]` without the trailing slash, or empty."""

    def read(value: object) -> str:
        if value == "":
            return ""
        if (match := _PUBLIC_URL.fullmatch(_text(value))) and int(match[3] or 1) in range(1, 65536):
            return f"{match[1].lower()}://{match[2]}{match[4].rstrip('/')}"
        raise NotAllowedError(
            "empty, or http(s)://host[:port][/prefix] without token or query, such as https://mcp.example.com",
            "留空，或 http(s)://主机[:端口][/前缀]，不带 token 和参数，例如 https://mcp.example.com",
        )

    return BeforeValidator(read)


def words(en: str, zh: str) -> BeforeValidator:
    """A comma separated list, each word once; `en` and `zh` say of what. Empty for none."""

    def read(value: object) -> tuple[str, ...]:
        given = value.split(",") if isinstance(value, str) else value
        if isinstance(given, (list, tuple)) and all(isinstance(word, str) for word in given):
            stripped = [word.strip() for word in given]
            # a full-width comma would make one word of two, which then matches nothing
            if not any(_has_control(word) or "，" in word for word in stripped):
                return tuple(dict.fromkeys(word for word in stripped if word))
        raise NotAllowedError(f"{en}, with commas (,) between them, or empty", f"{zh}，以半角逗号（,）分隔，或留空")

    return BeforeValidator(read)


def texts(en: str, zh: str, *, names: bool = False) -> BeforeValidator:
    """Pairs `tool: text; tool: text`, each tool once; `en` and `zh` are an example. Empty for none.

    With `names` the texts are tool names: up to 64 characters each, and no two alike.
    """

    def read(value: object) -> dict[str, str]:
        pairs = _pairs(value) if isinstance(value, str) else value
        if isinstance(pairs, dict) and all(_usable(*pair, names=names) for pair in pairs.items()):
            new = list(pairs.values())
            if not names or len(set(new)) == len(new):
                return pairs
        also_en, also_zh = (
            (" of at most 64 characters, no two alike", "，最长 64 个字符且互不相同") if names else ("", "")
        )
        what_en, what_zh = ("new name", "新名称") if names else ("text", "文字")
        raise NotAllowedError(
            f"pairs tool: {what_en}{also_en}, with semicolons (;) between them, such as {en}",
            f"“工具: {what_zh}”{also_zh}，以半角分号（;）分隔，例如 {zh}",
        )

    return BeforeValidator(read)


def _pairs(text: str) -> dict[str, str] | None:
    """The pairs; None if a tool comes twice or a colon is missing. Text with a `;` in it shows up as the latter."""
    parts = [part.partition(":") for part in text.split(";") if part.strip()]
    pairs = {name.strip(): new.strip() for name, _, new in parts}
    return pairs if len(pairs) == len(parts) else None


def _usable(name: object, text: object, *, names: bool) -> bool:
    """Whether a pair has both halves, and a new name fits clients; a name that ends with a space fits nobody."""
    return (
        isinstance(name, str)
        and isinstance(text, str)
        and bool(name.strip() and text.strip())
        and not _has_control(name + text)
        and (not names or (len(text) <= LONGEST_NAME and text == text.strip()))
    )


def networks() -> BeforeValidator:
    """A comma separated list of IP addresses and networks, or empty."""

    def read(value: object) -> tuple[Network, ...]:
        given = value.split(",") if isinstance(value, str) else value
        if isinstance(given, (list, tuple)):
            try:
                return tuple(
                    ipaddress.ip_network(str(word).strip(), strict=False) for word in given if str(word).strip()
                )
            except ValueError:
                pass
        raise NotAllowedError(
            "empty, or a comma separated list of IP addresses and networks such as 127.0.0.1, 10.0.0.0/8",
            "留空，或以逗号分隔的 IP 地址和网段列表，例如 127.0.0.1, 10.0.0.0/8",
        )

    return BeforeValidator(read)


def host_names() -> BeforeValidator:
    """A comma separated list of host names and addresses without ports, or empty; in lower case, IPv6 without [ ]."""

    def read(value: object) -> tuple[str, ...]:
        given = value.split(",") if isinstance(value, str) else value
        if isinstance(given, (list, tuple)):
            names = [_text(name).lower().removeprefix("[").removesuffix("]") for name in given]
            names = [name for name in names if name]
            if all(_HOST.fullmatch(name) or _is_ipv6(name) for name in names):
                return tuple(names)
        raise NotAllowedError(
            "empty, or a comma separated list of host names without ports such as mcp.example.com, 192.168.1.5",
            "留空，或以逗号分隔的主机名列表（不含端口），例如 mcp.example.com, 192.168.1.5",
        )

    return BeforeValidator(read)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def origins() -> BeforeValidator:
    """`*`, or a comma separated list of origins in the spelling browsers send (lower case, no default port)."""

    def read(value: object) -> list[str]:
        given = value.split(",") if isinstance(value, str) else value
        words = [_text(word) for word in given] if isinstance(given, (list, tuple)) else []
        words = [word for word in words if word]
        spelled = words if words == ["*"] else [_origin(word) for word in words]
        if spelled and None not in spelled:
            return [word for word in spelled if word]
        raise NotAllowedError(
            "* alone, or a comma separated list of origins such as https://console.example.com",
            "单独的 *，或以逗号分隔的来源列表，例如 https://console.example.com",
        )

    return BeforeValidator(read)


def _origin(word: str) -> str | None:
    lowered = word.lower().removesuffix("/")
    if lowered == "null":
        return lowered
    match = _ORIGIN.fullmatch(lowered)
    if match is None or int(match[3] or 1) not in range(1, 65536):
        return None
    port = "" if match[3] in (None, _DEFAULT_PORTS.get(match[1])) else f":{int(match[3])}"
    return f"{match[1]}://{match[2]}{port}"
