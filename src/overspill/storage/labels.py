"""What a store tells readers of its array besides the elements: names of the axes, and attributes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overspill.errors import UsageError


@dataclass(frozen=True, slots=True)
class Labels:
    """Names of an array's axes, None where they have none, and attributes in JSON's types."""

    dims: tuple[str, ...] | None
    attributes: dict[str, Any]


def labelled(ndim: int, dims: Sequence[str] | None, attributes: Mapping[str, Any] | None) -> Labels:
    """The labels of an array of `ndim` axes.

    Raises
    ------
    UsageError
        If `dims` are not one name an axis, all different, or `attributes` are not JSON.
    """
    if dims is not None and (isinstance(dims, str) or len(dims) != ndim or len(set(dims)) != ndim):
        raise UsageError(f"dims={dims!r} do not name the array's {ndim} axes: pass {ndim} different names")
    given = dict(attributes or {})
    check_attributes(given)
    return Labels(None if dims is None else tuple(dims), given)


def check_attributes(attributes: Mapping[str, Any]) -> None:
    """Refuse attributes that are not JSON, in which Zarr keeps them.

    Raises
    ------
    UsageError
        If they are not.
    """
    try:
        json.dumps(attributes, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"attributes={dict(attributes)!r} are not JSON ({error}): use text, finite numbers and lists"
        ) from None
