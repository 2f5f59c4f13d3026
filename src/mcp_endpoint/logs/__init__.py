"""The log of this process. Lowest first: `redaction`, `sinks`, `setup`."""
