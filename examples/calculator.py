"""A calculator as an MCP server over stdio, with the official SDK: an example of a tool that a Xiaozhi device can call.

Connect it to an endpoint with:  python main.py pipe URL -- python examples/calculator.py

The expression comes from a language model, so it is never run: its syntax tree is walked, what is not arithmetic is
refused, and every number, power and nesting has a bound, so that no expression can hang or fill the machine.
"""

import ast
import math
import operator
from collections.abc import Callable

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

Number = int | float

LONGEST = 1000  # characters of an expression
DEEPEST = 60  # nested operations
BITS = 4000  # of an integer: about 1200 digits
MOST_FACTORIAL = 400


class Refused(Exception):
    """The expression is not calculated; the message says why, in Chinese and English."""


TOO_BIG = Refused("结果太大，无法计算。 / The result is too large.")


def calculate(expression: str) -> Number:
    """The value of an arithmetic expression in Python's notation; integers stay integers. Raises Refused."""
    if len(expression) > LONGEST:
        raise Refused(f"表达式超过 {LONGEST} 个字符。 / The expression is longer than {LONGEST} characters.")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        value = _value(tree.body, DEEPEST)
    except (SyntaxError, MemoryError, RecursionError):
        raise Refused("这不是有效的算式。 / This is not a valid expression.") from None
    except ZeroDivisionError:
        raise Refused("除数不能为零。 / Division by zero.") from None
    except OverflowError:
        raise TOO_BIG from None
    except (ValueError, TypeError) as error:
        raise Refused(f"无法计算：{error}。 / This cannot be calculated: {error}.") from None
    return value


def _value(node: ast.expr, depth: int) -> Number:
    if depth == 0:
        raise Refused("算式嵌套太深。 / The expression is nested too deeply.")
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _bounded(value)
        case ast.BinOp(left, op, right) if type(op) in BINARY:
            return _bounded(BINARY[type(op)](_value(left, depth - 1), _value(right, depth - 1)))
        case ast.BinOp(op=ast.BitXor()):
            raise Refused("乘方请写作 **。 / Write a power as **, not ^.")
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand, depth - 1)
        case ast.UnaryOp(ast.UAdd(), operand):
            return _value(operand, depth - 1)
        case ast.Name(name) | ast.Attribute(ast.Name("math"), name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.Call(ast.Name(name) | ast.Attribute(ast.Name("math"), name), arguments, []) if name in FUNCTIONS:
            return _bounded(FUNCTIONS[name](*(_value(argument, depth - 1) for argument in arguments)))
    part = ast.unparse(node)[:40]
    raise Refused(f"不支持 {part}。 / {part} is not supported; known functions: {', '.join(FUNCTIONS)}.")


def _bounded(value: Number | complex) -> Number:
    """The value, if it is a real number within bounds."""
    if isinstance(value, complex) or (isinstance(value, float) and math.isnan(value)):
        raise Refused("结果不是实数。 / The result is not a real number.")
    if (isinstance(value, float) and math.isinf(value)) or (isinstance(value, int) and value.bit_length() > BITS):
        raise TOO_BIG
    return value


def _power(base: Number, exponent: Number) -> Number | complex:
    # Looked at before it is calculated: 9**9**9 would take all the memory there is.
    match base, exponent:
        case int(), int() if abs(base) > 1 and base.bit_length() * abs(exponent) > 2 * BITS:
            raise TOO_BIG
    result: Number | complex = base**exponent
    return result


def _factorial(number: Number) -> int:
    if not isinstance(number, int) or number > MOST_FACTORIAL:
        raise Refused(f"阶乘只支持不超过 {MOST_FACTORIAL} 的整数。 / factorial takes integers up to {MOST_FACTORIAL}.")
    return math.factorial(number)


def _round(number: Number, digits: Number = 0) -> Number:
    if not isinstance(digits, int) or abs(digits) > 100:
        raise Refused("小数位数无效。 / round takes up to 100 digits.")
    return round(number, digits) if digits else round(number)


CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}
BINARY: dict[type[ast.operator], Callable[[Number, Number], Number | complex]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
MATH: list[Callable[..., Number]] = [
    *(math.sqrt, math.cbrt, math.exp, math.log, math.log2, math.log10, math.floor, math.ceil, math.trunc, math.gcd),
    *(math.sin, math.cos, math.tan, math.asin, math.acos, math.atan, math.atan2, math.sinh, math.cosh, math.tanh),
    *(math.degrees, math.radians, math.hypot, abs, int, float),
]
FUNCTIONS: dict[str, Callable[..., Number | complex]] = {
    **{function.__name__: function for function in MATH},
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
    "round": _round,
    "pow": _power,
    "factorial": _factorial,
}

server = MCPServer("Calculator", log_level="WARNING")


@server.tool(
    description="计算数学表达式（Python 语法，可用 sqrt、sin、log、pi 等），凡是算术都请用此工具。\n"
    "Calculate a mathematical expression in Python's notation, with functions such as sqrt, sin, log and the constant "
    "pi. Always use this tool for arithmetic.",
    structured_output=False,
)
def calculator(python_expression: str) -> str:
    """Calculate `python_expression`; a refusal becomes the tool's error."""
    try:
        return str(calculate(python_expression))
    except Refused as refusal:
        raise ToolError(str(refusal)) from None


if __name__ == "__main__":
    server.run("stdio")
