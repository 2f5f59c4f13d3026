"""All benchmarks in one run, or some of them: `python benchmarks/run.py [--only calls,idle,…]` (docs/performance.md).

Exit code 0, unless a thing could not be measured that should have been; a peer that is not installed is left out.
"""

import argparse
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from mcp_endpoint.app import raise_descriptor_limit
from options import Options
from relays import pin
from report import Table, facts

PARTS = ("calls", "idle", "in_process", "http_doors", "providers", "isolation", "attacks", "storms")
PEERS = ("nats", "nchan")


def some_of(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """The reader of a list with commas of known names; the empty text names none."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(filter(None, text.split(",")))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(known)}")
        return names

    return read


def parse() -> tuple[Options, tuple[str, ...]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=some_of(PARTS), default=PARTS, help=f"some of {','.join(PARTS)}")
    parser.add_argument("--peers", type=some_of(PEERS), default=PEERS, help=f"some of {','.join(PEERS)}, or nothing")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement, in turns")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement under load")
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--window", type=int, default=4, help="calls of each agent in flight")
    parser.add_argument("--size", type=int, default=200, help="bytes of padding in arguments and results")
    parser.add_argument("--idle", type=int, default=2000, help="links that do nothing")
    told = vars(parser.parse_args())
    return Options(**{name: value for name, value in told.items() if name != "only"}), told["only"]


def main() -> int:
    if sys.platform != "linux":
        print("The benchmarks read /proc, so they need Linux.")
        return 1
    options, parts = parse()
    print(f"{facts()}\n\n`{' '.join(['python', 'benchmarks/run.py', *sys.argv[1:]])}`", flush=True)
    raise_descriptor_limit()
    pin(os.getpid(), -1)
    began, failed = monotonic(), []
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="mcp-endpoint-bench-") as folder:
            try:
                tables: list[Table] = importlib.import_module(part).measure(options, Path(folder))
            except Exception:  # noqa: BLE001  the other parts are measured all the same
                traceback.print_exc()
                failed.append(part)
                continue
        for table in tables:
            print(f"\n{table.markdown()}", flush=True)
    print(f"\n{monotonic() - began:.0f} s in all.")
    if failed:
        print(f"Could not be measured: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
