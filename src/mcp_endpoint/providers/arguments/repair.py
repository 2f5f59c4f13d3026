"""A value that does not fit its schema, read anew at the places where it does not. Pure and bounded.

The errors say where to look, so references and schemas that hold together need no care of their own; where a schema has
several forms, the value is read for each of them.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from jsonschema.exceptions import ValidationError
from msgspec.json import encode

from mcp_endpoint.providers.arguments import meanings
from mcp_endpoint.providers.arguments.errors import TooComplex

MOST_VALUES = 20_000
"""Values that are looked at, each time anew, to find out how one call was meant."""
MOST_ERRORS = 1000
"""Errors of one value that are looked at."""
MOST_ROUNDS = 8
"""How deep texts of JSON may lie in others."""

EXACT, LOOSE, WRAPPED = 1, 2, 3
"""How far a reading may go: what the value spells; what it stands for; a list around it."""
_KEPT: Final = object()
_GONE: Final = object()

Path = tuple[str | int, ...]


class Repair:
    """One value on its way to its schema."""

    def __init__(self) -> None:
        self._left = MOST_VALUES
        self.fits = False
        """Whether nothing was wrong any more with what was repaired last."""

    def repair(self, validator: Any, value: Any, most: int) -> Any:
        """The value with whatever does not fit read anew, as far as a reading may go; itself if all fits."""
        places: dict[Path, list[ValidationError]] = {}
        for _ in range(MOST_ROUNDS):
            places = {}
            for error in self._errors(validator, value):
                places.setdefault(tuple(error.absolute_path), []).append(error)
            if not places:
                break
            needed = self._needed(validator, value, places)
            repaired, done = value, set[Path]()
            for path in sorted(places, key=len):
                if any(path[:length] in done for length in range(len(path))):
                    continue
                removable = bool(path) and isinstance(path[-1], str) and path not in needed
                new = self._at(validator, places[path], removable, most)
                if new is not _KEPT:
                    repaired = _put(repaired, path, new)
                    done.add(path)
            if not done:
                break
            value = repaired
        self.fits = not places
        return value

    def _errors(self, validator: Any, value: Any) -> list[ValidationError]:
        self._left -= _count(value, self._left)
        if self._left <= 0:
            raise TooComplex
        return list(islice(validator.iter_errors(value), MOST_ERRORS))

    def _fits(self, validator: Any, value: Any) -> bool:
        return not self._errors(validator, value)

    def _needed(self, validator: Any, value: Any, places: Mapping[Path, list[ValidationError]]) -> set[Path]:
        """Which of the places that hold nothing must hold something."""
        rest = value
        empty = [path for path, errors in places.items() if path and _is_nothing(errors[0].instance)]
        for path in sorted(empty, key=len, reverse=True):
            if isinstance(path[-1], str):
                rest = _put(rest, path, _GONE)
        needed: set[Path] = set()
        if rest is not value:
            for error in self._errors(validator, rest):
                names = error.validator_value
                if error.validator == "required" and isinstance(names, list) and isinstance(error.instance, dict):
                    place = tuple(error.absolute_path)
                    needed |= {(*place, name) for name in names if name not in error.instance}
        return needed

    def _at(self, validator: Any, errors: list[ValidationError], removable: bool, most: int) -> Any:
        """What stands at a place in truth; _GONE for nothing, _KEPT where that is not known."""
        value = errors[0].instance
        blank = meanings.is_blank(value)
        for how in range(EXACT, most + 1):
            if how == LOOSE and removable and blank and not _may_lack(errors):
                return _GONE
            if how == WRAPPED and (blank or meanings.is_word_for_nothing(value)):
                break
            for error in errors:
                new = self._meant(validator, error, how)
                if new is not _KEPT:
                    return new
        # Before it is put into a list: a word for nothing is no member of one.
        return _GONE if most > EXACT and removable and meanings.is_word_for_nothing(value) else _KEPT

    def _meant(self, validator: Any, error: ValidationError, how: int) -> Any:
        """The one reading of what an error is about that goes just so far; _KEPT if there is none, or several."""
        schema = error.schema
        if not isinstance(schema, dict):
            return _KEPT
        here = validator.evolve(schema=schema)
        value = error.instance
        match error.validator:
            case "type":
                kinds = error.validator_value
                kinds = kinds if isinstance(kinds, list) else [kinds]
                if how == WRAPPED:
                    return self._listed(here, value) if "array" in kinds else _KEPT
                options = _distinct([one for kind in kinds if (one := _typed(value, kind, how)) is not _KEPT])
                if len(options) > 1:
                    options = [one for one in options if self._fits(here, one)]
            case "enum" | "const":
                words = error.validator_value if error.validator == "enum" else [error.validator_value]
                options = _distinct(_of_words(value, words, how) if isinstance(words, list) else [])
            case "anyOf" | "oneOf":
                return self._of_branches(here, error, how)
            case _:
                return _KEPT
        return options[0] if len(options) == 1 else _KEPT

    def _listed(self, here: Any, value: Any) -> Any:
        """A single value where a list is wanted, or a text that is a list of several."""
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            value = meanings.structure(value)
            if value is None:
                return _KEPT  # meant as JSON, and broken
        several = meanings.parts(value) if isinstance(value, str) else None
        lists = [[value], *([several] if several is not None else [])]
        repaired = [self.repair(here, one, LOOSE) for one in lists]
        options = _distinct([one for one in repaired if self._fits(here, one)])
        return options[0] if len(options) == 1 else _KEPT

    def _of_branches(self, here: Any, error: ValidationError, how: int) -> Any:
        """What fits one of several schemas: the text's own value as it is, else what had to be changed least."""
        value = error.instance
        if how == EXACT:
            plain = _distinct([one for kind in _KINDS if (one := _typed(value, kind, how)) is not _KEPT])
            fitting = [one for one in plain if self._fits(here, one)]
            if fitting:
                return fitting[0] if len(fitting) == 1 else _KEPT
        options: list[Any] = []
        for branch in error.validator_value if isinstance(error.validator_value, list) else ():
            repaired = self.repair(here.evolve(schema=branch), value, how)
            if repaired is not value and self._fits(here, repaired):
                options.append(repaired)
        options = _distinct(options)
        if len(options) < 2:
            return options[0] if options else _KEPT
        changes = [_changes(value, one) for one in options]
        least = min(changes)
        return options[changes.index(least)] if changes.count(least) == 1 else _KEPT


def _is_nothing(value: Any) -> bool:
    return meanings.is_blank(value) or meanings.is_word_for_nothing(value)


def _may_lack(errors: list[ValidationError]) -> bool:
    """Whether an empty object stands where an object may be: then it may lack something, and does not say nothing."""
    if errors[0].instance != {}:
        return False
    told = [one for error in errors for one in (error.context or [error])]
    return any(error.validator not in ("type", "enum", "const") for error in told)


_KINDS = ("integer", "number", "boolean", "object", "array")


def _typed(value: Any, kind: str, how: int) -> Any:
    """A value as one of that type; _KEPT if it is none."""
    made: Any = None
    if how == EXACT:
        match kind:
            case "integer":
                made = meanings.whole(value)
            case "number":
                made = meanings.number(value)
            case "boolean":
                made = meanings.truth(value)
            case "object" | "array":
                made = meanings.structure(value)
                made = made if isinstance(made, dict if kind == "object" else list) else None
    elif how == LOOSE:
        match kind:
            case "boolean":
                made = meanings.loose_truth(value)
            case "string":
                made = meanings.spelled(value)
            case "object" if value == []:
                made = {}  # as PHP writes an empty object
            case "null" if isinstance(value, str) and _is_nothing(value):
                return None
    return _KEPT if made is None else made


def _of_words(value: Any, words: list[Any], how: int) -> list[Any]:
    """Which of the values that a schema lists a value spells."""
    if how == EXACT:
        text = value.strip() if isinstance(value, str) else None
        found = [one for one in words if text is not None and one == text]
        read = [one for kind in _KINDS if (one := _typed(value, kind, how)) is not _KEPT]
        return found or [one for one in words for other in read if one == other and type(one) is type(other)]
    if how == LOOSE:
        text = value if isinstance(value, str) else meanings.spelled(value)
        same = meanings.same_word(text, words)
        if same is None and None in words and isinstance(value, str) and _is_nothing(value):
            return [None]
        return [same] if same is not None else []
    return []


def _distinct(values: list[Any]) -> list[Any]:
    return list({encode(one, order="sorted"): one for one in values}.values())


def _count(value: Any, most: int) -> int:
    """How many values a value is made of, counted up to a number."""
    count, todo = 0, [value]
    while todo and count <= most:
        one = todo.pop()
        count += 1
        if isinstance(one, dict | list):
            todo.extend(one.values() if isinstance(one, dict) else one)
    return count


def _changes(one: Any, other: Any) -> int:
    """How many values differ between two readings."""
    if isinstance(one, dict) and isinstance(other, dict):
        return sum(_changes(one.get(name, _GONE), other.get(name, _GONE)) for name in {**one, **other})
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return sum(map(_changes, one, other))
    return int(type(one) is not type(other) or one != other)


def _put(value: Any, path: Path, new: Any) -> Any:
    """The same value with another one at a place, or with none there; the one that was given stays as it is."""
    step = path[0] if path else None
    if step is None:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if len(path) > 1:
        copy[step] = _put(copy[step], path[1:], new)
    elif new is _GONE:
        del copy[step]
    else:
        copy[step] = new
    return copy
