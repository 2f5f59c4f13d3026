"""What commands exit with, beside 0."""

FAILED = 1
"""What was asked for did not happen, or something is wrong."""
USAGE = 2
"""The command line, an URL in it or the settings cannot be used (2 is argparse's own)."""
NOT_FOUND = 127
"""There is no such program, as shells have it (POSIX.1-2024, 2.8.2)."""
INTERRUPTED = 130
"""Ctrl-C ended it: 128 and the number of SIGINT, as shells have it."""
