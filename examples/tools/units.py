"""Units of length, mass, temperature, area, volume, speed, time and data, converted exactly where it can be.

Serve it with:  python main.py pipe URL --python examples/tools/units.py
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from mcp_endpoint.tools import ToolError, resource, tool

# How many of the first unit of its line one unit is. 中文名也可以用。
QUANTITIES: dict[str, dict[str, str]] = {
    "length 长度": {
        "m 米": "1", "km 公里 千米": "1000", "cm 厘米": "1/100", "mm 毫米": "1/1000", "in 英寸": "127/5000",
        "ft 英尺": "381/1250", "yd 码": "1143/1250", "mi 英里": "201168/125", "nmi 海里": "1852", "里": "500",
        "丈": "10/3", "尺": "1/3", "寸": "1/30",
    },
    "mass 质量": {
        "kg 公斤 千克": "1", "g 克": "1/1000", "mg 毫克": "1/1000000", "t 吨": "1000", "lb 磅": "45359237/100000000",
        "oz 盎司": "45359237/1600000000", "斤": "1/2", "两": "1/20", "钱": "1/200",
    },
    "area 面积": {
        "m2 平方米": "1", "km2 平方公里": "1000000", "ha 公顷": "10000", "ft2 平方英尺": "145161/1562500",
        "acre 英亩": "316160658/78125", "亩": "2000/3",
    },
    "volume 体积": {
        "L 升": "1", "mL 毫升": "1/1000", "m3 立方米": "1000", "gal 加仑": "473176473/125000000",
        "cup 杯": "473176473/2000000000",
    },
    "speed 速度": {"m/s 米每秒": "1", "km/h 公里每小时": "5/18", "mph 英里每小时": "1397/3125", "kn 节": "463/900"},
    "time 时间": {"s 秒": "1", "min 分钟": "60", "h 小时": "3600", "day 天": "86400", "week 周 星期": "604800"},
    "data 数据": {
        "B 字节": "1", "kB": "1000", "MB": "1000000", "GB": "1000000000", "TB": "1000000000000", "KiB": "1024",
        "MiB": "1048576", "GiB": "1073741824", "TiB": "1099511627776", "bit 比特": "1/8",
    },
}  # fmt: skip
# A temperature is a line, not a factor: (what one degree is in kelvins, where its zero is).
TEMPERATURES: dict[str, tuple[str, str]] = {
    "K 开尔文": ("1", "0"),
    "C °C 摄氏度": ("1", "5463/20"),
    "F °F 华氏度": ("5/9", "45967/180"),
}


@dataclass
class Conversion:
    """A converted value."""

    value: float
    unit: str
    text: str


@dataclass(frozen=True)
class Unit:
    """A unit as a line: its value times `factor`, plus `zero`, is the value in the first unit of its quantity."""

    name: str
    quantity: str
    factor: Fraction
    zero: Fraction = Fraction(0)


def units() -> dict[str, Unit]:
    """Every unit by each of its names."""
    known: dict[str, Unit] = {}
    for quantity, lines in QUANTITIES.items():
        for names, factor in lines.items():
            first, *_ = names.split()
            known |= dict.fromkeys(names.split(), Unit(first, quantity, Fraction(factor)))
    for names, (factor, zero) in TEMPERATURES.items():
        first, *_ = names.split()
        unit = Unit(first, "temperature 温度", Fraction(factor), Fraction(zero))
        known |= dict.fromkeys(names.split(), unit)
    return known


@tool(title="单位换算 / Convert units", read_only=True, idempotent=True, open_world=False)
def convert_units(
    value: Annotated[float, Field(ge=-1e30, le=1e30)],
    from_unit: str,
    to_unit: str,
) -> Conversion:
    """换算单位：长度、质量、温度、面积、体积、速度、时间、数据量。 Convert a value from one unit to another.

    Args:
        value: 数值 / the number to convert
        from_unit: 原单位，如 km、斤、°F / its unit, such as km, lb, °F
        to_unit: 目标单位 / the unit that is wanted
    """
    source, target = _unit(from_unit), _unit(to_unit)
    if source.quantity != target.quantity:
        raise ToolError(
            f"{from_unit}（{source.quantity}）不能换算成 {to_unit}（{target.quantity}）。"
            f" / {from_unit} is a unit of {source.quantity}, {to_unit} one of {target.quantity}."
        )
    exact = (Fraction(str(value)) * source.factor + source.zero - target.zero) / target.factor
    converted = float(exact)
    return Conversion(converted, target.name, f"{value:g} {source.name} = {converted:.10g} {target.name}")


def _unit(name: str) -> Unit:
    known = units()
    lower = {key.lower(): unit for key, unit in known.items()}
    unit = known.get(name.strip()) or lower.get(name.strip().lower())
    if unit is None:
        raise ToolError(f"不认识单位 {name[:40]}。 / There is no unit {name[:40]}; known: {', '.join(known)}.")
    return unit


@resource("units://all", title="所有单位 / All units", mime_type="application/json")
def all_units() -> dict[str, list[str]]:
    """Every unit that convert_units knows, by quantity."""
    found: dict[str, list[str]] = {}
    for name, unit in units().items():
        found.setdefault(unit.quantity, []).append(name)
    return found
