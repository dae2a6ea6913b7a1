"""What pictures of results say in words: what was measured, where, on how much, and which end of the bars is better."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from panels import Panel, Row

from overspill.units import format_nbytes, parse_nbytes

WAVE = "sin(x)² + cos(x)·x"
RATIONAL = "(3x + 1)·x − (x − 2)/(x² + 1)"

BETTER = {
    "GB/s": "GB/s of the array's bytes, counted once: longer is better",
    "TFLOP/s": "TFLOP/s: longer is better",
    "s": "seconds: shorter is better",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a benchmark is about, and what it means by the names of its works."""

    title: str
    works: Mapping[str, str] = field(default_factory=dict)


SUBJECTS = {
    "elementwise_cpu": Subject(
        "The mean of an expression, operands in memory",
        {"wave": WAVE, "rational": RATIONAL, "bell": "exp(−x²)·tanh(x) + log(1 + |x|)"},
    ),
    "gemm_blocks_gpu": Subject(
        "One output tile of a product on one GPU, and how it is cut for cuBLAS",
        {"host": "operands from page-locked memory"},
    ),
    "matmul_cpu": Subject("A matrix product, operands in memory"),
    "matmul_gpu": Subject(
        "Matrix products on the GPUs of a server",
        {
            "": "float64, operands and result in host memory",
            "host": "float64, operands and result in host memory",
            "large": "float64, operands and result in host memory, 8 GiB of each GPU",
            "device": "float64, operands and result in GPU memory",
            "one": "one GPU, float64, operands and result in host memory, those of cupy.matmul in its own",
            "types": "other types, operands and result in host memory",
            "scaling": "float64 in host memory, by the number of GPUs",
            "killed": "float64, operands made and multiplied, a worker killed when half of the product is there",
            "peak": "cupy.matmul of 16384² in the memory of all GPUs at once",
        },
    ),
    "matmul_first_gpu": Subject("The first product in fresh processes, operands in host memory, and a warm one"),
    "matmul_steps_gpu": Subject("A product of matrices in host memory, each step of its pipeline left out in turn"),
    "solvers_gpu": Subject(
        "Solvers with the matrix in GPU memory, beside stock dask-cuda and CuPy on one GPU",
        {"power": "power iteration", "cg": "conjugate gradients on Poisson's equation in a cube"},
    ),
    "sparse_cpu": Subject("A sparse matrix times a vector: two workers beside SciPy on one core"),
    "sparse_gpu": Subject("A sparse matrix times a vector on one GPU, beside cuSPARSE"),
    "sparse_stream_gpu": Subject(
        "A sparse matrix of twice the bytes that the GPUs may hold times a vector",
        {"product": "matrix in host memory, vector and product on the GPUs"},
    ),
    "spill_cuda": Subject(
        "Dask graphs several times as large as the GPUs may hold, beside stock dask-cuda",
        {
            "pass": f"mean of {WAVE}, x persisted",
            "transpose": "x + x.T, persisted",
            "temporaries": "tasks whose temporaries exceed the GPU, beside results that fill it",
            "overhead": "data that fits: with the spill store, and with a dictionary",
        },
    ),
    "transform_gpu": Subject(
        f"{WAVE} on all GPUs of a server, beside stock dask-cuda and JAX",
        {
            "round": "host → GPU → host",
            "mean": "host → GPU → mean",
            "resident": "mean of what lies in GPU memory, float64",
        },
    ),
    "transpose_cpu": Subject(
        "Matrices of float64 laid out anew in memory, chunks of several sizes",
        {
            "x + x.T": "x + x.T, by the side of its square chunks",
            "rows to columns": "chunks of so many rows cut into chunks of columns",
        },
    ),
    "zarr_cpu": Subject(
        "From one Zarr store to another through a function, beside cp",
        {"scale": "x/4 + 3", "rational": RATIONAL, "wave": WAVE},
    ),
}
"""By the beginning of the file's name; what is not here goes by its own names."""


def subject(name: str) -> Subject:
    """What the result file of this name is about."""
    known = [start for start in SUBJECTS if name.startswith(start)]
    return SUBJECTS[max(known, key=len)] if known else Subject(name.replace("_", " "))


def heading(about: Subject, work: str) -> str:
    """What a work is, in words, with the variant that follows its name in the file."""
    name, comma, variant = work.partition(",")
    return about.works.get(name, name) + comma + variant


def right_of(row: Row, unit: str) -> str:
    """The figures of a contender, in lines; nothing of one that has none."""
    if row.middle is None:
        return ""
    data = "" if row.nbytes is None else f" of {format_nbytes(row.nbytes)}"
    limit = "" if row.limit_nbytes is None else f", limit {format_nbytes(row.limit_nbytes)}"
    undisturbed = "" if row.undisturbed_s is None else f", undisturbed {figure(row.undisturbed_s, 's')}"
    trouble = "" if row.trouble is None else f"\n{row.trouble}"
    return figure(row.middle, unit) + data + limit + undisturbed + trouble


def figure(value: float, unit: str) -> str:
    """A value in its unit."""
    return f"{number(value)} {unit}"


def number(value: float) -> str:
    """A value with three significant digits, or with all before the point if there are more."""
    rounded = float(f"{value:.2e}")  # 9.996 is 10.0
    return f"{value:.{max(0, 2 - math.floor(math.log10(rounded)))}f}"


def caption(figures: Mapping[str, Any], panels: Sequence[Panel]) -> tuple[str, ...]:
    """Lines: where, when and on what it was measured; which way is better; how to read the marks."""
    rows = [row for panel in panels for row in panel.rows]
    shown = [panel for panel in panels if any(row.middle is not None for row in panel.rows)]
    units = [BETTER[unit] for unit in dict.fromkeys(panel.unit for panel in shown)]
    marks = ["bars: medians"]
    if any(row.repetitions for row in rows):
        marks.append("dots: repetitions")
    if any(row.first is not None for row in rows):
        marks.append("circles: the first run")
    if any(row.limit_nbytes is not None for row in rows):
        marks.append("limit: of one worker's results before they spill")
    return measured(figures), "; ".join(units), "; ".join(marks)


def measured(figures: Mapping[str, Any]) -> str:
    """Where, when and on what."""
    where = figures["where"]
    cores = f"{where['cores']} cores of {where['processor']}"
    gpus = [f"{where['gpus'].count(gpu)} × {gpu}" for gpu in dict.fromkeys(where["gpus"])]
    pages = ["huge pages"] if where.get("huge_shared_pages", "never") not in ("", "never", "deny") else []
    return ", ".join([*gpus, cores, *pages, where["date"], *conditions(figures.get("settings", figures))])


def conditions(settings: Mapping[str, Any]) -> Iterable[str]:
    """What all contenders were given alike."""
    if "n" in settings:
        yield f"n = {settings['n']}"
    if isinstance(nbytes := settings.get("nbytes"), int):  # as text it is what somebody asked for, and rows tell more
        chunks = f" in chunks of {format_nbytes(settings['chunk_nbytes'])}" if "chunk_nbytes" in settings else ""
        yield format_nbytes(nbytes) + chunks
    if "steps" in settings:
        yield f"{settings['steps']} iterations"
    if "dtype" in settings:
        yield settings["dtype"]
    if "device_memory" in settings:
        yield f"{format_nbytes(parse_nbytes(settings['device_memory']))} a GPU"
    if "workers" in settings:
        yield f"{settings['workers']} workers"
    if "disk" in settings:
        yield settings["disk"]
