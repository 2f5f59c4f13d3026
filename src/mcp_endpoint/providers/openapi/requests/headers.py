"""The headers of a call: what each call has, what its arguments say, what the settings of the provider add. Pure."""

from collections.abc import Mapping, Sequence

EVERY_CALL = {"Accept": "application/json, */*;q=0.5"}


def call_headers(of_arguments: Mapping[str, str], of_settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """All of them, as name → value. Names are equal whatever their case; the settings win, the last of them first."""
    merged: dict[str, tuple[str, str]] = {}
    for layer in (EVERY_CALL, of_arguments, *of_settings):
        merged |= {name.lower(): (name, value) for name, value in layer.items()}
    return dict(merged.values())
