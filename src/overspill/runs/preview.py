"""What a run is going to make and what that will cost: the plan of all its results together."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import dask.array as da

from overspill.ops.plan import plan_together
from overspill.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Result:
    """A named array that a run makes.

    Attributes
    ----------
    name
        As the workflow calls it.
    shape, dtype, nbytes
        Of the array.
    blocks
        Number of its chunks, each written on its own.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Preview:
    """The results of a run, and the plan of computing them together."""

    results: tuple[Result, ...]
    plan: Plan

    @property
    def blocks(self) -> int:
        """Chunks of all results."""
        return sum(result.blocks for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in plain numbers and strings."""
        return {"results": [asdict(result) for result in self.results], **self.plan.to_dict()}


def preview(arrays: Mapping[str, da.Array]) -> Preview:
    """The preview of computing `arrays` together: what they share is counted once."""
    results = tuple(Result(name, x.shape, str(x.dtype), int(x.nbytes), x.npartitions) for name, x in arrays.items())
    return Preview(results, plan_together(tuple(arrays.values())))
