"""What a run says: how much passed, what differs from the direct run, and what of it was not expected."""

from dataclasses import dataclass
from functools import cached_property

from expected import FOLDER, read_expected
from suites import SCORED, Checks


@dataclass(frozen=True)
class Verdict:
    """One run of a suite, beside the direct run of the same one."""

    suite: str
    mode: str
    checks: Checks
    direct: Checks

    @cached_property
    def expected(self) -> dict[str, str]:
        """What may fail, with the reasons."""
        return read_expected(FOLDER / f"{self.suite}-{self.mode}.yaml")

    @cached_property
    def passed(self) -> set[str]:
        return passing(self.checks)

    @cached_property
    def failed(self) -> set[str]:
        """What fails, and what passes directly and was not even made here."""
        made = {name for name, state in self.checks.items() if state in SCORED}
        return (made | passing(self.direct)) - self.passed

    @cached_property
    def differences(self) -> set[str]:
        """What passes only directly, or only here."""
        return self.passed ^ passing(self.direct)

    @cached_property
    def unexpected(self) -> set[str]:
        return self.failed - self.expected.keys()

    @cached_property
    def outdated(self) -> set[str]:
        """What should fail and does not."""
        return self.expected.keys() - self.failed

    def row(self) -> tuple[str, ...]:
        """The run's line in the table."""
        bad = f"{len(self.unexpected)} fail unexpectedly, {len(self.outdated)} no longer fail"
        return (
            f"{self.mode}/{self.suite}",
            f"passed {len(self.passed)} of {len(self.passed | self.failed)}",
            f"{len(self.failed & self.expected.keys())} failures expected",
            bad if self.unexpected or self.outdated else "ok",
        )


def passing(checks: Checks) -> set[str]:
    """The names of the checks that pass."""
    return {name for name, state in checks.items() if state == "SUCCESS"}
