"""Where things lie that tests start, read or import."""

from pathlib import Path

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent
SRC = ROOT / "src"
OPENAPI_DOCUMENTS = TESTS / "providers" / "openapi" / "documents"
