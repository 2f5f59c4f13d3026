"""The checks that are expected to fail, and why: as expected-failures/ and as docs/conformance.md have them.

Usage: expected.py, which writes that part of docs/conformance.md anew.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "expected-failures"
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
MARK = "<!-- from here on written by tests/conformance/expected.py -->\n"


class UnusableFile(Exception):
    """A list of expected failures says something that is neither a check nor the reason of one."""


def read_expected(path: Path) -> dict[str, str]:
    """Reasons by "scenario:check", from a file in the form that the suite's own `--expected-failures` reads.

    A comment is the reason of all entries below it, up to the next comment. No file is an empty list.
    """
    expected: dict[str, str] = {}
    reason = ""
    after_entry = False
    for number, line in enumerate(path.read_text("utf-8").splitlines() if path.exists() else [], 1):
        text = line.strip()
        if text.startswith("#"):
            reason = text.lstrip("# ") if after_entry else f"{reason} {text.lstrip('# ')}".strip()
            after_entry = False
        elif text.startswith("- "):
            name = text.removeprefix("- ")
            if not reason or name in expected or ":" not in name:
                raise UnusableFile(f"{path.name}, line {number}: {name} has no reason, comes twice, or names no check")
            expected[name] = reason
            after_entry = True
        elif text not in ("server:", ""):
            raise UnusableFile(f"{path.name}, line {number}: {text!r} is neither a comment nor an entry")
    return expected


def listed() -> str:
    """All of them by reason, as the page has them."""
    runs: dict[str, dict[str, list[str]]] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        suite, _, mode = path.stem.rpartition("-")
        for name, reason in read_expected(path).items():
            runs.setdefault(reason, {}).setdefault(f"{mode}/{suite}", []).append(name)
    lines = [MARK]
    for reason, by_run in runs.items():
        same = len({tuple(names) for names in by_run.values()}) == 1
        lines.append(f"\n- {reason}\n")
        for run, names in by_run.items():
            if not same:
                lines.append(f"  - {run}: {', '.join(f'`{name}`' for name in names)}\n")
        if same:
            lines.append(f"  - {', '.join(by_run)}: {', '.join(f'`{name}`' for name in names)}\n")
    return "".join(lines)


def main() -> None:
    before, mark, _ = PAGE.read_text("utf-8").partition(MARK)
    assert mark, f"{PAGE} has no line {MARK}"
    PAGE.write_text(before + listed(), "utf-8")


if __name__ == "__main__":
    main()
