"""Dates and timers, without any service on the internet: how many days until, which weekday, and a timer that counts.

Serve it with:  python main.py pipe URL --python examples/tools/calendar_and_timers.py
"""

import asyncio
import calendar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from mcp_endpoint.tools import Context, ToolError, prompt, tool

WEEKDAYS = [("星期一", "Monday"), ("星期二", "Tuesday"), ("星期三", "Wednesday"), ("星期四", "Thursday")]
WEEKDAYS += [("星期五", "Friday"), ("星期六", "Saturday"), ("星期日", "Sunday")]
Zone = Annotated[
    str, Field(max_length=60, description="时区，如 Asia/Shanghai；空为本机 / time zone, or this computer's")
]


@dataclass
class Day:
    """A date and how far away it is."""

    date: date
    weekday: str
    days_from_today: int
    week: int


def now_in(zone: str) -> datetime:
    """The time in a zone. Raises ToolError for one that there is not."""
    if not zone:
        return datetime.now().astimezone()
    try:
        return datetime.now(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolError(f"没有时区 {zone}。 / There is no time zone {zone}; write it as Asia/Shanghai.") from None


def day_of(day: date, today: date) -> Day:
    """What there is to say about a day."""
    zh, en = WEEKDAYS[day.weekday()]
    return Day(day, f"{zh} {en}", (day - today).days, day.isocalendar().week)


@tool(title="现在几点 / What time is it", read_only=True)
def time_now(zone: Zone = "") -> str:
    """现在的日期、时间和星期。 The date, time and weekday now."""
    now = now_in(zone)
    zh, en = WEEKDAYS[now.weekday()]
    return f"{now:%Y-%m-%d %H:%M:%S} {zh} {en} (UTC{now:%z})"


@tool(title="某天 / A day", read_only=True)
def date_info(day: date, zone: Zone = "") -> Day:
    """某一天是星期几、离今天还有几天。 Which weekday a date is, and how many days away.

    Args:
        day: 日期，如 2027-02-06 / the date, such as 2027-02-06
    """
    return day_of(day, now_in(zone).date())


@tool(title="加减天数 / Add to a date", read_only=True)
def date_add(
    day: date,
    days: Annotated[int, Field(ge=-40000, le=40000)] = 0,
    months: Annotated[int, Field(ge=-1200, le=1200)] = 0,
    zone: Zone = "",
) -> Day:
    """给日期加上若干天或月。 Add days and months to a date; of a month that is too short, its last day.

    Args:
        day: 日期 / the date to begin with
        days: 天数，可为负 / days, also negative
        months: 月数，可为负 / months, also negative
    """
    index = day.year * 12 + day.month - 1 + months
    try:
        first = date(index // 12, index % 12 + 1, 1)
        last = calendar.monthrange(first.year, first.month)[1]
        moved = first.replace(day=min(day.day, last)) + timedelta(days=days)
    except (ValueError, OverflowError):
        raise ToolError("日期超出范围。 / The date is out of range.") from None
    return day_of(moved, now_in(zone).date())


@tool(title="计时器 / Timer", background=True, timeout=3600, open_world=False)
async def timer(
    seconds: Annotated[int, Field(ge=1, le=3600, description="秒数 / how many seconds")],
    ctx: Context,
    label: Annotated[str, Field(max_length=60, description="提醒什么 / what it is for")] = "",
) -> str:
    """倒计时，到时间才返回；期间报告进度。 Count down and return at the end; tells its progress meanwhile."""
    if ctx.time_left < seconds:
        raise ToolError(f"这次调用最多 {ctx.time_left:.0f} 秒。 / A call may take {ctx.time_left:.0f} s at most.")
    loop = asyncio.get_running_loop()
    start = loop.time()
    for done in range(seconds):
        ctx.progress(done, seconds, label)
        await asyncio.sleep(max(start + done + 1 - loop.time(), 0))
    ctx.progress(seconds, seconds, label)
    return f"时间到：{label or seconds} / Time is up: {label or f'{seconds} s'}"


@prompt(title="安排一天 / Plan the day")
def plan(tasks: str) -> str:
    """Ask for a plan of the day."""
    return f"现在的时间请用 time_now 查看。请把这些事排进今天：{tasks} / Ask time_now, then plan today with: {tasks}"
