"""What a run came to: its results, figures and checks."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overspill.ops.check import Check


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a run.

    Attributes
    ----------
    directory
        Where everything lies.
    arrays
        Paths of the stored arrays, by name.
    values
        The results of no dimensions, by name.
    files
        What the workflow's `present` made.
    checks
        What the workflow's check says.
    blocks
        How many blocks this session computed.
    seconds
        For computing and storing them.
    check_s
        For the check.
    flop
        Operations done on matrix products, by the workers' own count.
    peak_tiles_nbytes
        Most bytes of tiles in each pool, added up.
    overflow_nbytes
        Bytes of tiles in use that found no room in a pool and lay on disk.
    spilled_nbytes
        Bytes of results that moved between devices, host memory and disk for want of room, by link.
    predicted_s
        What the plan said for all blocks.
    """

    directory: Path
    arrays: dict[str, Path]
    values: dict[str, Any]
    files: tuple[Path, ...]
    checks: tuple[Check, ...]
    blocks: int
    seconds: float
    check_s: float
    flop: int
    peak_tiles_nbytes: int
    overflow_nbytes: int
    spilled_nbytes: dict[str, int]
    predicted_s: float

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    @property
    def stores(self) -> tuple[Path, ...]:
        """Where the results lie, each dataset once; without those of no dimensions."""
        paths = [path.parent if "/" in name else path for name, path in self.arrays.items() if name not in self.values]
        return tuple(dict.fromkeys(paths))

    @property
    def flop_per_s(self) -> float:
        """Achieved rate."""
        return self.flop / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON's types."""
        return {
            "passed": self.passed,
            "values": {name: _plain(value) for name, value in self.values.items()},
            "checks": [{key: _plain(value) for key, value in asdict(check).items()} for check in self.checks],
            "arrays": {name: str(path.relative_to(self.directory)) for name, path in self.arrays.items()},
            "files": [str(file.relative_to(self.directory)) for file in self.files],
            "blocks": self.blocks,
            "seconds": self.seconds,
            "check_s": self.check_s,
            "flop": self.flop,
            "flop_per_s": self.flop_per_s,
            "peak_tiles_nbytes": self.peak_tiles_nbytes,
            "overflow_nbytes": self.overflow_nbytes,
            "spilled_nbytes": self.spilled_nbytes,
            "predicted_s": self.predicted_s,
        }


def _plain(value: Any) -> Any:
    """A scalar as JSON can have it, which has no infinities and no NaN."""
    item = value.item() if isinstance(value, np.generic) else value
    if isinstance(item, float) and not math.isfinite(item):
        return str(item)
    return item if isinstance(item, bool | int | float | str) else str(item)
