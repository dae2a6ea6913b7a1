"""Whether contenders, each in a process of its own, have found the same."""

from typing import Any

WITHIN = 1e-6
"""Relative difference up to which values are the same: sums are rounded in different orders."""


def agree(outcomes: dict[str, Any], within: float = WITHIN) -> None:
    """A contender that finds another ``"value"`` than the first one has failed."""
    values = {name: found["value"] for name, found in outcomes.items() if "value" in found}
    expected = next(iter(values.values()), None)
    for name, value in values.items():
        if not abs(value - expected) <= within * abs(expected):
            outcomes[name] = {"failed": f"found {value}, where {expected} was found before"}
