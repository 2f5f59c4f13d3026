"""The lists of expected failures of the conformance suite: each has a reason, and the page has them all."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from support.paths import ROOT


@pytest.fixture(scope="module")
def expected() -> ModuleType:
    spec = importlib.util.spec_from_file_location("expected", ROOT / "tests" / "conformance" / "expected.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_lists_what_is_expected_to_fail(expected: ModuleType) -> None:
    page = (ROOT / "docs" / "conformance.md").read_text("utf-8")
    assert page.endswith(expected.listed()), "write it anew with: python tests/conformance/expected.py"


def test_a_reason_goes_for_the_entries_below_it(expected: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("server:\n  # One\n  # reason.\n  - a:b\n  - a:c\n  # Another.\n  - d:e\n", "utf-8")
    assert expected.read_expected(path) == {"a:b": "One reason.", "a:c": "One reason.", "d:e": "Another."}
    assert expected.read_expected(tmp_path / "none.yaml") == {}


@pytest.mark.parametrize("lines", ["- a:b", "# Why.\n- a", "# Why.\n- a:b\n- a:b", "# Why.\nclient:\n- a:b"])
def test_an_entry_without_a_reason_or_a_check_is_refused(expected: ModuleType, tmp_path: Path, lines: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(lines, "utf-8")
    with pytest.raises(expected.UnusableFile):
        expected.read_expected(path)
