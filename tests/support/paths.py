"""Where things lie that tests start, read or import."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
SRC = ROOT / "src"
PROGRAMS = TESTS / "support" / "programs"
"""Scripts that run as processes of their own."""
OPENAPI_DOCUMENTS = TESTS / "providers" / "openapi" / "documents"
