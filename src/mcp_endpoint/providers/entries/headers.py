"""Headers of an entry, made fit to be sent: people paste them out of files, other programs and browsers."""

import re
from collections.abc import Mapping

from mcp_endpoint.providers.entries.members import BadEntry

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BLANK = "\ufeff\u200b\u200c\u200d\u2060"
"""What nobody sees and str.strip leaves."""
_OURS = {
    "connection",
    "content-length",
    "keep-alive",
    "mcp-session-id",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""What one message or connection is made of: an owner cannot know it, and what a browser copied breaks the request."""


def fit_headers(headers: Mapping[str, str], *, ascii_only: bool = True) -> dict[str, str]:
    """The headers without blank ends and without those of a single message.

    Raises BadEntry for one that cannot be a header (RFC 9110, section 5.5): it names the header, never its value.
    """
    fit = {}
    for name, value in headers.items():
        shown, value = name.strip().strip(_BLANK).rstrip(": "), _cut(value)
        if not _NAME.fullmatch(shown):
            beginning = re.split(r"[:\s]", shown, maxsplit=1)[0][:40]  # a whole line may stand there, key and all
            raise BadEntry(
                f"headers {beginning!r}",
                "cannot be the name of a header: letters, digits and - are",
                "不能作为请求头的名称：只能用字母、数字和 -",
            )
        if any(character < " " or character == "\x7f" for character in value.replace("\t", " ")):
            raise BadEntry(
                f"headers {shown}",
                "has a line break or a control character in its value; write the value on one line",
                "值中有换行或控制字符，请写成一行",
            )
        if ascii_only and not value.isascii():
            raise BadEntry(
                f"headers {shown}",
                "has a character in its value that is not ASCII, such as a full-width one or “ ”; type it anew",
                "值中有非 ASCII 字符（例如全角字符或“”），请重新输入",
            )
        if shown.lower() not in _OURS:
            fit[shown] = value
    return fit


def _cut(value: str) -> str:
    while (shorter := value.strip().strip(_BLANK)) != value:
        value = shorter
    return value
