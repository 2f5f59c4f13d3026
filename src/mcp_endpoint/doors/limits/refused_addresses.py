"""What is remembered of peers that were not let in: counted by address, so that a flood flushes only itself."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.refusals import Refusal

SOURCES_KEPT = 1_000
LINES_A_MINUTE = 60
"""Lines about refusals in the log, whatever the number of addresses they come from."""


@dataclass(slots=True)
class _Refused:
    count: int
    since: float
    last: float
    told: float
    """When the log was last told."""


class Refusals:
    """Refusals by address and reason; of more than SOURCES_KEPT addresses the one unheard of for longest is forgotten.

    Times are monotonic seconds. The reasons are those of `errors`, so an address has few.
    """

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        self._sources: dict[str, dict[str, _Refused]] = {}
        self._minute = float("-inf")
        self._lines = 0

    def note(self, source: str, reason: str, now: float) -> int:
        """Count a refusal. Returns how many there were of this kind if the log should be told, else 0.

        It should at the first, at every power of ten, and otherwise once a minute, as far as LINES_A_MINUTE allows.
        """
        self.by_reason[reason] += 1
        reasons = self._sources.pop(source, None)
        if reasons is None:
            reasons = {}
            if len(self._sources) >= SOURCES_KEPT:
                del self._sources[next(iter(self._sources))]
        self._sources[source] = reasons
        refused = reasons.get(reason)
        if refused is None:
            refused = reasons[reason] = _Refused(0, now, now, now)
        refused.count += 1
        refused.last = now
        if str(refused.count).strip("0") != "1" and now - refused.told < 60:
            return 0
        if now - self._minute >= 60:
            self._minute, self._lines = now, 0
        if self._lines >= LINES_A_MINUTE:
            return 0
        self._lines += 1
        refused.told = now
        return refused.count

    def report(self, stamp: Callable[[float], str]) -> list[dict[str, object]]:
        """One entry per address and reason for `/stats`, the latest address first; `stamp` turns a time into text."""
        return [
            {
                "address": source,
                "reason": reason,
                "count": one.count,
                "since": stamp(one.since),
                "last": stamp(one.last),
                "why": _sentences(source, reason, one.count),
            }
            for source, reasons in reversed(self._sources.items())
            for reason, one in reasons.items()
        ]


_WORDS = {one.reason: (one.zh, one.en) for one in (*End, *Refusal)}
_HINTS = {
    End.BAD_TOKEN.reason: ("，是用另一个密钥生成的吗？", "; is it from another key?"),
    End.MISSING_TOKEN.reason: ("，地址复制完整了吗？", "; was the whole URL copied?"),
    Refusal.NO_DOOR.reason: ("，路径应以 /mcp/ 或 /call/ 结尾", "; the path should end in /mcp/ or /call/"),
}


def _sentences(source: str, reason: str, count: int) -> dict[str, str]:
    """What to tell an operator about the refusals of one address."""
    (zh, en), (hint_zh, hint_en) = _WORDS.get(reason, (reason, reason)), _HINTS.get(reason, ("。", "."))
    times = "once" if count == 1 else f"{count} times"
    return {
        "zh": f"来自 {source} 的连接被拒绝 {count} 次：{zh}{hint_zh}",
        "en": f"Refused {times} from {source}: {en}{hint_en}",
    }
