"""Fetch public API documents for the tests: `public.py`. Only what PUBLIC.json lists is kept, out of npm packages whose
hashes it has; npm downloads them. Without npm, or without a network, nothing is there and the tests that want it are
skipped.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
PLACE = FOLDER / "public"
"""Where they are kept, under the names that the list has."""


def main() -> int:
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not there: the tests with public OpenAPI documents will be skipped")
        return 0
    PLACE.mkdir(exist_ok=True)
    for package in json.loads((FOLDER / "PUBLIC.json").read_text()):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [npm, "pack", "--silent", package["package"]], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )
            (file,) = Path(folder).iterdir()
            found = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
            if f"sha512-{found}" != package["integrity"]:
                print(f"{package['package']} is not what it was: its hash is sha512-{found}")
                return 1
            with tarfile.open(file) as archive:
                for name, member in package["files"].items():
                    content = archive.extractfile(member)
                    assert content is not None, member
                    (PLACE / name).write_bytes(content.read())
    (PLACE / ".stamp").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
