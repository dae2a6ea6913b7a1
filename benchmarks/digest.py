"""The README's table: of each kind of work one figure of ours, beside the ceiling and the best of the others."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import captions
import panels
import tables
from panels import Panel, Row

PLACE = re.compile(r"<!-- digest -->\n(.*?)<!-- end of digest -->", re.DOTALL)

TITLES = ("work", "on", "Overspill", "of the ceiling", "best of the others", "times as fast")


class MissingError(ValueError):
    """A headline whose figure no result has."""


@dataclass(frozen=True, slots=True)
class Headline:
    """A figure worth being told first.

    Attributes
    ----------
    said
        The work in words.
    file, work
        The result, and the work's name in it.
    ours
        The contender that did it.
    """

    said: str
    file: str
    work: str
    ours: str = "overspill"


HEADLINES = (
    Headline("product of 49152 × 49152, float64, on the host, 8 GiB of the GPU", "matmul_gpu_1_one", "one"),
    Headline("the same, all in GPU memory", "matmul_gpu_1_device", "device"),
    Headline("product of 49152 × 49152, float64, on the host", "matmul_gpu_2_host", "host"),
    Headline("the same, all in GPU memory", "matmul_gpu_2_device", "device"),
    Headline("product of 65536 × 65536, float64, on the host", "matmul_gpu_4_host", "host"),
    Headline("the same, all in GPU memory", "matmul_gpu_4_device", "device"),
    Headline("product of 98304 × 98304, on the host, 8 GiB of each GPU", "matmul_gpu_4_large", "large"),
    Headline("mean of `sin(x)**2 + cos(x)*x` over 80 GiB, 20 on the GPUs", "spill_cuda_pass_overhead", "pass"),
    Headline("`x + x.T`, 42 GiB, 20 on the GPUs", "spill_cuda_transpose_temporaries", "transpose"),
    Headline("`sin(x)**2 + cos(x)*x`, host to GPU to host, 32 GiB", "transform_gpu", "round"),
    Headline("its mean, in GPU memory, 128 GiB", "transform_gpu_60gib", "resident"),
    Headline("sparse matrix times vector, band of 16, float64", "sparse_gpu", "banded 16, float64"),
    Headline("the same, 16 random columns a row", "sparse_gpu", "random 16, float64"),
    Headline("the same, matrix of 16.5 GiB on the host, 8 GiB of the GPU", "sparse_stream_gpu", "product"),
    Headline("power iteration, 100 steps, 268 million entries", "solvers_gpu", "power"),
    Headline("conjugate gradients, 100 steps, a cube of 512³ points", "solvers_gpu", "cg"),
    Headline("product of 8192 × 8192, float64", "matmul_cpu", ""),
    Headline("mean of `sin(x)**2 + cos(x)*x`, float32", "elementwise_cpu", "wave, float32"),
    Headline(
        "`x + x.T` as an elementwise function", "transpose_cpu", "x + x.T", "overspill elementwise into tiles, 4000"
    ),
    Headline("rows cut into columns", "transpose_cpu", "rows to columns", "overspill, 1000 rows"),
    Headline("`x/4 + 3` from Zarr to Zarr, warm", "zarr_cpu", "scale, warm"),
    Headline("Poisson's matrix times vector, within a solver", "sparse_cpu", "poisson", "overspill resident"),
)


def filled(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with the table as the results say it now; as it is, if it has no place for it.

    Raises
    ------
    MissingError
        If a headline has no result.
    """
    return PLACE.sub(lambda _: f"<!-- digest -->\n{table(HEADLINES, results)}<!-- end of digest -->", page)


def table(headlines: Sequence[Headline], results: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a headline."""
    return tables.markdown(TITLES, [_told(headline, results) for headline in headlines])


def _told(headline: Headline, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if headline.file not in results:
        raise MissingError(f"no result {headline.file}.json: run its benchmark, or take it out of digest.HEADLINES")
    figures = results[headline.file]
    found = [panel for panel in panels.read(headline.file, figures) if panel.work == headline.work]
    ours = [row for panel in found for row in panel.rows if row.contender == headline.ours]
    if not ours or ours[0].middle is None:
        raise MissingError(f"{headline.file}.json has no figure of {headline.ours!r} for the work {headline.work!r}")
    (panel, *_), (row, *_), where = found, ours, figures["where"]
    on = f"{len(where['gpus'])} × {where['gpus'][0]}" if where["gpus"] else f"{where['cores']} cores"
    share = f"{row.middle / ceiling:.2f}" if (ceiling := tables.ceiling(panel, row)) else ""
    cells = [headline.said, f"{on}, {where['date']}", captions.figure(row.middle, panel.unit), share]
    if not (best := _best(panel)):
        return [*cells, "none was in time" if len(panel.rows) > 1 else "", ""]
    times = best.middle / row.middle if panel.unit == "s" else row.middle / best.middle
    return [*cells, f"{best.contender}: {captions.figure(best.middle, panel.unit)}", captions.number(times)]


def _best(panel: Panel) -> Row | None:
    """The fastest that is neither ours nor the ruler."""
    timed = (row for row in panel.rows if row.middle is not None)
    others = [row for row in timed if not row.is_ours and row.contender != panels.RULER]
    choose = min if panel.unit == "s" else max
    return choose(others, key=lambda row: row.middle, default=None)
