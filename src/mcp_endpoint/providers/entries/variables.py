"""Variables of the environment in texts of the servers file: `${VAR}`, `${VAR:-default}`, and `${env:VAR}` as editors
have it. `$${` stands for `${` itself. Nothing else is put in: `$VAR` and `%VAR%` are part of many a password.
"""

import re
from collections.abc import Mapping

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = re.compile(
    rf"""
    \$\$\{{                                       # $${{ is no variable
    | \$?\{{ env: (?P<env>{_NAME}) \}}            # ${{env:VAR}} (VS Code, Cursor), {{env:VAR}} (opencode)
    | \$\{{ (?:env:)? (?P<name>{_NAME}) (?: :- (?P<default>[^}}$]*+ (?:\$(?!\{{)[^}}$]*+)*+ ) )? \}}
    | (?P<unknown> \$\{{ [^}}]{{0,80}}+ \}}? | \{{file:[^}}]{{0,80}}+\}} )
    """,
    re.VERBOSE,
)
_LOOKS_LIKE_ONE = re.compile(rf"(?:\$({_NAME})|%({_NAME})%)")
_IN_A_HEADER = re.compile(r"^(?:Bearer|Basic|Token)[ ]+", re.IGNORECASE)


def filled(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its variables put in. Raises KeyError with the name of one that is not there and has no default."""

    def put(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match["unknown"]:
            return match[0]
        name, default = match["env"] or match["name"], match["default"]
        if default is not None:
            return environ.get(name, "").strip() or default
        return environ[name].strip()  # what was read from a file ends with a line break

    return _VARIABLE.sub(put, text)


def unknown(text: str) -> str | None:
    """The first thing in `text` that another program would put something in for, and this one does not.

    What stands behind its name may be secret and is left out.
    """
    found = next((match["unknown"] for match in _VARIABLE.finditer(text) if match["unknown"]), None)
    name = None if found is None else re.match(r"\$?\{[\w:./-]{0,60}", found)
    return None if found is None or name is None else found if found == f"{name[0]}}}" else f"{name[0]}…}}"


def has_one(text: str) -> bool:
    """Whether something is put into `text`, so that it cannot be judged yet."""
    return any(match["env"] or match["name"] for match in _VARIABLE.finditer(text))


def left_alone(text: str) -> str | None:
    """The name, if `text` is nothing but `$VAR` or `%VAR%` (behind `Bearer` too): that is sent as it stands."""
    match = _LOOKS_LIKE_ONE.fullmatch(_IN_A_HEADER.sub("", text.strip()))
    return None if match is None else match[1] or match[2]
