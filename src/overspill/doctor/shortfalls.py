"""What to mend, from what was measured: figures far below what such a machine gives, and those that failed."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from overspill.doctor.facts import Facts
from overspill.doctor.figures import Figure
from overspill.units import format_nbytes, format_rate

LINK_FRACTION = 0.5
"""Of what a slot carries on paper, what a GPU alone should reach; page-locked copies reach 0.85."""

PRODUCT_FRACTION = 0.5
"""Of the built-in figure of a card that is known, what it should reach."""

EVEN_FRACTION = 0.8
"""Of the median GPU, what each should reach."""

DISK_PER_S = 100e6
"""What a disk to spill to should read and write."""

LOCKING = ("page-locking of new tiles", "link, up", "link, down", "link, both ways at once")
"""Figures that need locked memory."""


def of_figures(facts: Facts, figures: Sequence[Figure], known: Mapping[str, float]) -> Iterator[str]:
    """What to mend of the machine as it was measured.

    Parameters
    ----------
    facts
        What it is.
    figures
        What was measured.
    known
        Rates of products, by element type, that GPUs of this kind reach; empty for other kinds.
    """
    yield from _failures(facts, figures)
    on_gpus = {figure.name: figure for figure in figures if figure.side == "cuda" and figure.each_per_s}
    yield from _slow_link(facts, on_gpus)
    for dtype, expected in known.items():
        figure = on_gpus.get(f"product, {dtype}")
        if figure and max(figure.each_per_s) < PRODUCT_FRACTION * expected:
            yield (
                f"a GPU multiplies {dtype} at {format_rate(max(figure.each_per_s), 'FLOP/s')}, its kind does "
                f"{format_rate(expected, 'FLOP/s')}: see what else runs on it, and its clocks (nvidia-smi -q -d "
                f"PERFORMANCE)"
            )
    for name in ("product, float64", "link, up"):
        if name in on_gpus:
            yield from _uneven(on_gpus[name])
    for figure in figures:
        if figure.name.startswith("disk") and figure.alone_per_s and figure.alone_per_s < DISK_PER_S:
            yield (
                f"{facts.folder.path} is slow ({figure.name} {format_rate(figure.alone_per_s, 'B/s')}): set Dask's "
                f"temporary-directory, or local_directory=, to a folder on a faster disk"
            )


def _failures(facts: Facts, figures: Sequence[Figure]) -> Iterator[str]:
    failed = [figure for figure in figures if figure.failure]
    locking = [figure for figure in failed if figure.name in LOCKING and "page-lock" in figure.failure]
    if locking:
        limit = "unlimited" if facts.locked_nbytes is None else format_nbytes(facts.locked_nbytes)
        yield (
            f"locked memory is {limit} by ulimit -l, and {locking[0].failure}: ulimit -l unlimited (in a container "
            f"--ulimit memlock=-1), or copies to the GPU are several times slower"
        )
    if others := [figure for figure in failed if figure not in locking]:
        what = "; ".join(f"{figure.name} ({figure.failure})" for figure in others)
        yield f"not measured, so that plans keep the built-in figures: {what}"


def _slow_link(facts: Facts, on_gpus: Mapping[str, Figure]) -> Iterator[str]:
    slots = [gpu.pcie_per_s for gpu in facts.cuda.gpus if gpu.pcie_per_s]
    for name in ("link, up", "link, down"):
        figure = on_gpus.get(name)
        if slots and figure and figure.alone_per_s and figure.alone_per_s < LINK_FRACTION * min(slots):
            yield (
                f"{name}: a GPU alone copies {format_rate(figure.alone_per_s, 'B/s')}, less than half of its slot's "
                f"{format_rate(min(slots), 'B/s')}: see the link's width and generation under load (nvidia-smi -q -d "
                f"PCIE), and that workers run on the GPU's own socket"
            )


def _uneven(figure: Figure) -> Iterator[str]:
    usual = statistics.median(figure.each_per_s)
    for index, per_s in enumerate(figure.each_per_s):
        if per_s < EVEN_FRACTION * usual:
            unit = f"{figure.unit}/s"
            yield (
                f"{figure.name}: GPU {index} does {format_rate(per_s, unit)} while the others do "
                f"{format_rate(usual, unit)}: see what else runs on it, its slot and its clocks (nvidia-smi)"
            )
