"""Ids that come back in another spelling than the broker sent them in: `"1"` or `1.0` for 1."""

import re

_SPELLED = re.compile(rb'"?\s*0*([0-9]{1,10})(?:\.0*)?\s*"?')


def respelled(raw: bytes) -> int:
    """The small integer that an id can only mean; 0 if it means none."""
    if raw.isdigit() and len(raw) <= 10:
        return int(raw)
    found = _SPELLED.fullmatch(raw) if len(raw) <= 40 else None
    return int(found[1]) if found is not None else 0
