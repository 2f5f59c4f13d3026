"""What a link's owner should know although the link goes on."""

from enum import Enum


class Note(Enum):
    """What a link's owner should know although the link goes on: (English words for the log)."""

    def __init__(self, en: str) -> None:
        self.en = en
        self.reason = self.name.lower()

    DEVICE_ON_TOOL_DOOR = "a device program is connected to the tool URL; it needs the one with /call/"
    SILENT_ON_DEVICE_DOOR = "has sent nothing: is it a tool program with the device URL? It needs the one with /mcp/"
    PRINTS_TO_STDOUT = "sends lines that are not JSON-RPC: does the program print to stdout?"
    TEXT_BESIDE_FRAMES = "prints other text on the lines of its frames (a banner, colour codes); it is left out"
    FRAMES_NOT_BY_LINE = "puts several frames on one line, or one on several lines; they are taken apart and joined"
    HALF_CHARACTERS = "sends halves of characters (lone surrogates, as in a cut emoji); each becomes U+FFFD"
    NOT_A_NUMBER = "sends NaN or Infinity, which are not JSON; they become null, or the call ends at once"
    BROKEN_JSON = "sends frames that are not valid JSON; an answer that cannot be read ends its call at once"
    UTF16 = "sends UTF-16 instead of UTF-8; it is converted"
    GBK = "sends text that is not UTF-8 (GBK?); its calls end at once. For Python set PYTHONUTF8=1"
    NOT_UTF8 = "sends text that is not UTF-8 (Latin-1?); its calls end at once"
    ECHOES = "sends back what it is sent: does it run in a terminal (docker run -t, ssh -t)?"
    IDS_RESPELLED = "answers with ids in another spelling than they were sent in; they are taken"
    ERRORS_RESPELLED = "sends errors that are none of JSON-RPC (code and message); they are made such"
    REFUSED_INITIALIZE = "answered `initialize` with an error; none of its tools are listed"
    LOOK_ALIKE = "another program looks just like it; to use both, add a different ?server_id= to each URL"
    LIST_FAILED = "answered `tools/list` with an error, with no list or not at all; none of its tools are listed"
    TOO_MANY_TOOLS = "has more tools than the limits in [broker] allow; the rest is left out"
    LIST_BROKEN_OFF = "lists the same again, nothing or an error page after page; what came first is taken for all"
