"""The plan of elementwise work, reductions and re-layouts: what all passes over chunks move, do and take."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add, or_

from overspill.planning.elapsed import BOUNDS, elapsed
from overspill.planning.one_pass import Pass, Peak
from overspill.planning.resources import Resources
from overspill.units import format_nbytes, format_seconds


@dataclass(frozen=True, slots=True)
class Passes:
    """All work of a graph besides matrix products and their operands.

    Attributes
    ----------
    tasks
        Tasks as Dask runs them, chains of blockwise operations fused.
    total
        What they move and do together.
    peak
        Most bytes of one of them.
    device_nbytes
        Most bytes that those which a GPU runs at a time have in hand.
    temporary_nbytes
        Host memory that those which all workers run at a time need besides their inputs and results.
    predicted_s
        Seconds until all are done, on the active cluster.
    bound
        What takes the time, a key of `planning.elapsed.BOUNDS`.
    numpy_s
        Seconds that the same workers' cores would take, with chunks that stay on the host; None where they do.
    write_s
        Seconds that writing the result to disk takes besides.
    figures
        Where the rates come from.
    """

    tasks: int
    total: Pass
    peak: Peak
    device_nbytes: int
    temporary_nbytes: int
    predicted_s: float
    bound: str
    numpy_s: float | None
    write_s: float
    figures: str

    @property
    def seconds(self) -> str:
        """What it takes and why, in words."""
        writing = f", {format_seconds(self.write_s)} more if saved" if self.write_s > self.predicted_s / 100 else ""
        return f"{format_seconds(self.predicted_s)}, bound by {BOUNDS[self.bound]}{writing}"

    @property
    def advice(self) -> str | None:
        """What would be faster, in words; None where nothing is."""
        if self.numpy_s is None or self.numpy_s >= self.predicted_s:
            return None
        cupy = f"CuPy takes {format_seconds(self.predicted_s)}, bound by {BOUNDS[self.bound]}"
        return f"leave it on the host: {cupy}, NumPy {format_seconds(self.numpy_s)}"

    def rows(self) -> list[tuple[str, str]]:
        """As (what, how much) pairs for people."""
        if not self.tasks:
            return []
        total = self.total
        moved = (
            (total.uploaded_nbytes, "to devices"),
            (total.downloaded_nbytes, "back"),
            (total.read_nbytes, "from disk"),
            (total.made_nbytes, "made"),
            (total.device_nbytes, "read and written on devices"),
            (total.host_nbytes, "read and written in host memory"),
        )
        said = ", ".join(f"{format_nbytes(nbytes)} {what}" for nbytes, what in moved if nbytes)
        rows = [("passes", f"{self.tasks} task{'s' * (self.tasks != 1)}: {said or 'no bytes'}")]
        if total.mixed_nbytes:
            rows.append(("  mixed", f"{format_nbytes(total.mixed_nbytes)} of host chunks go up to meet device chunks"))
        rows.append(("  a task", _describe_peak(self.peak)))
        if self.advice:
            rows.append(("  advice", self.advice))
        elif self.numpy_s is not None:
            rows.append(("  side", f"CuPy: NumPy would take {format_seconds(self.numpy_s)}"))
        return rows


def _describe_peak(peak: Peak) -> str:
    parts = ((peak.device_nbytes, "on the device"), (peak.host_nbytes, "in host memory"))
    return "at most " + (" and ".join(f"{format_nbytes(nbytes)} {where}" for nbytes, where in parts if nbytes) or "0 B")


def plan_passes(works: Sequence[Pass], peaks: Sequence[Peak], written_nbytes: int, resources: Resources) -> Passes:
    """The plan of `works`, whose tasks take at most `peaks`, and of writing `written_nbytes` of results.

    Examples
    --------
    >>> from overspill.planning.resources import Rates
    >>> rates = Rates({}, 50e9, 40e9, 90e9, 1e9, 1e9, 4e12, 1e13, 5e-3, "figures made up")
    >>> given = Resources("cuda", 4, 2, 2**36, 2**36, rates, rates)
    >>> both_ways = Pass(uploaded_nbytes=2**30, downloaded_nbytes=2**30, device_nbytes=2**31)
    >>> found = plan_passes([both_ways] * 64, [Peak(2**31, 2**31)] * 64, 0, given)
    >>> found.total.uploaded_nbytes == 2**36, found.bound
    (True, 'download')
    """
    total, peak = reduce(add, works, Pass()), reduce(or_, peaks, Peak())
    predicted_s, bound = elapsed(works, resources)
    numpy_s = None
    if total.device_nbytes or total.uploaded_nbytes:
        cores = replace(resources, device="cpu", rates=resources.host_rates)
        numpy_s, _ = elapsed([work.in_numpy() for work in works], cores)
    slots = resources.workers * resources.threads
    return Passes(
        tasks=len(works),
        total=total,
        peak=peak,
        device_nbytes=resources.threads * peak.device_nbytes,
        temporary_nbytes=slots * peak.temporary_nbytes,
        predicted_s=predicted_s,
        bound=bound,
        numpy_s=numpy_s,
        write_s=written_nbytes / (resources.rates.disk_per_s * slots),
        figures=resources.rates.source,
    )
