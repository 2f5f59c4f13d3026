"""The arguments of a call as they were meant, by the JSON schema of its tool. Pure and bounded.

What fits is never changed. What does not fit is read anew where only one reading is possible; if the whole fits then,
it was meant. Otherwise the first complaint about what was sent is raised. Nothing that is required is made up or left
out.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from jsonschema.exceptions import ValidationError, best_match

from mcp_endpoint.providers.arguments.checks import StrictValidator, Validator, bounded
from mcp_endpoint.providers.arguments.errors import BadArguments, TooComplex
from mcp_endpoint.providers.arguments.meanings import declared
from mcp_endpoint.providers.arguments.repair import MOST_ERRORS, WRAPPED, Repair

MOST_NAMED = 5


class Reader:
    """Reads the arguments of one tool. It keeps no state."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = Validator(dict(schema))
        self._strict = StrictValidator(dict(schema))
        self._names = frozenset(schema.get("properties", ())) if schema.get("additionalProperties") is False else None

    def read(self, given: Mapping[str, Any], ignored: Callable[[str], None]) -> dict[str, Any]:
        """The arguments as the schema wants them; `ignored` is told names that it has not. Raises BadArguments."""
        known, unknown = dict(given), list[str]()
        if self._names is not None:
            known, unknown = declared(given, self._names)
            for name in unknown:
                ignored(name)
        meant, fits = self.repaired(known)
        if fits:
            return meant
        try:
            with bounded():
                errors = self._errors(known)
                if meant is not known:
                    left = {_told(error) for error in self._errors(meant)}
                    if not left:
                        return meant
                    # What could be read is no fault, but only what was sent can be spoken of.
                    errors = [error for error in errors if _told(error) in left] or errors
        except RecursionError:
            raise BadArguments("参数嵌套过深 / The arguments are nested too deeply") from None
        except TooComplex:
            raise BadArguments("参数过于复杂 / The arguments are too complex to be checked") from None
        if errors:
            raise BadArguments(_complaint(best_match(errors), unknown))
        return known

    def _errors(self, given: dict[str, Any]) -> list[ValidationError]:
        return list(islice(self._validator.iter_errors(given), MOST_ERRORS))

    def repaired(self, given: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The same if all fits, else with as much as possible read anew; and whether all surely fits then."""
        repair = Repair()
        try:
            with bounded():
                repaired = repair.repair(self._strict, given, WRAPPED)
        except (RecursionError, TooComplex):
            return given, False
        return (repaired, repair.fits) if isinstance(repaired, dict) else (given, False)


def _told(error: ValidationError) -> tuple[tuple[str | int, ...], str]:
    return tuple(error.absolute_path), error.message


def _complaint(error: ValidationError, unknown: list[str]) -> str:
    place = ".".join(str(step) for step in error.absolute_path) or "arguments"
    message = error.message if len(error.message) <= 200 else f"{error.message[:120]}…{error.message[-80:]}"
    names = ", ".join(name[:50] for name in unknown[:MOST_NAMED])
    more = f"；没有这些参数 / there are no such arguments: {names}" if unknown else ""
    return f"参数有误 / The arguments do not fit: {place}: {message}{more}"
