"""A figure: what one worker does alone, and what each does while all are busy."""

from dataclasses import dataclass
from typing import Literal

Side = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What a probe found.

    Attributes
    ----------
    side
        ``"cpu"`` for a core, ``"cuda"`` for a GPU.
    name
        Of the probe.
    unit
        What is counted, in a second: ``"B"``, ``"FLOP"``, ``"additions"``, ``"tasks"``.
    alone_per_s
        By one worker while the others do nothing; None where it was not measured.
    each_per_s
        By each worker while all do the same; empty where it was not measured.
    failure
        Why there is no figure, in one line.
    """

    side: Side
    name: str
    unit: str
    alone_per_s: float | None = None
    each_per_s: tuple[float, ...] = ()
    failure: str = ""

    @property
    def all_per_s(self) -> float | None:
        """By all workers together."""
        return sum(self.each_per_s) if self.each_per_s else None

    @property
    def share_per_s(self) -> float | None:
        """By one worker, while all are busy, on average."""
        return sum(self.each_per_s) / len(self.each_per_s) if self.each_per_s else None
