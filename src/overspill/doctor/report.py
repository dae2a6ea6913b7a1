"""What an examination says: rows for people, and one JSON document for programs."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from overspill.cluster import network
from overspill.doctor.advice import lacking, version
from overspill.doctor.examine import Examination
from overspill.doctor.facts import Facts
from overspill.doctor.figures import Figure
from overspill.units import format_nbytes, format_rate


def fact_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    """Name and value of what was looked at."""
    cores = f"{facts.cores} cores"
    if facts.cores < facts.cores_present:
        cores += f" of {facts.cores_present}"
    if facts.cores_worth is not None:
        cores += f", the time of {facts.cores_worth:.3g} by control groups"
    free = f"{format_nbytes(facts.memory_nbytes)}, {format_nbytes(facts.available_nbytes)} of it free"
    group = "" if facts.memory_limit_nbytes is None else f", {_limit(facts.memory_limit_nbytes)} by control groups"
    yield "system", facts.system
    yield "processor", f"{facts.processor}, {cores}"
    yield "memory", free + group
    shm = "no /dev/shm" if facts.shm_nbytes is None else f"/dev/shm {format_nbytes(facts.shm_nbytes)}"
    sharing = "shared between processes" if facts.shared_memory else "not shared between processes"
    yield "tiles", f"{sharing}; locked memory {_limit(facts.locked_nbytes)}, {shm}"
    huge, shared = (each or "not told" for each in (facts.huge_pages, facts.huge_shared_pages))
    faster = " (advise would let tiles be made faster)" if facts.small_shared_pages else ""
    yield "huge pages", f"{huge}, of shared memory {shared}{faster}"
    folder = facts.folder
    kind = f" ({folder.file_system})" if folder.file_system else ""
    yield "spilling to", f"{folder.path}{kind}, {format_nbytes(folder.free_nbytes)} free"
    yield from _gpu_rows(facts)
    yield "packages", ", ".join(f"{name} {number}" for name, number in facts.versions.items())


def figure_cells(figure: Figure) -> tuple[str, str, str, str]:
    """Name, and what one worker does alone, each of all, and all together; or why there is no such figure."""
    if figure.failure:
        return figure.name, f"not measured: {figure.failure}", "", ""
    unit = f"{figure.unit.replace('additions', 'add')}/s"
    rates = (figure.alone_per_s, figure.share_per_s, figure.all_per_s)
    alone, share, together = ("" if rate is None else format_rate(rate, unit) for rate in rates)
    return (figure.name, alone, share, together) if len(figure.each_per_s) > 1 else (figure.name, alone, "", "")


def document(examination: Examination, stored: Path | None) -> dict[str, Any]:
    """Everything, as JSON can hold it; `stored` is where the profile was written."""
    return {
        "facts": asdict(examination.facts),
        "figures": [asdict(figure) for figure in examination.figures],
        "advice": list(examination.advice),
        "rates": examination.profile.rates if examination.profile else None,
        "profile": str(stored) if stored else None,
    }


def _gpu_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    cuda = facts.cuda
    if not cuda.gpus:
        yield "GPUs", f"{cuda.present} that cannot be used" if cuda.present else "none"
        return
    kinds: dict[str, list[int]] = {}
    for index, gpu in enumerate(cuda.gpus):
        said = [gpu.name, format_nbytes(gpu.nbytes)]
        said += [f"PCIe {format_rate(gpu.pcie_per_s, 'B/s')}"] if gpu.pcie_per_s else []
        said += ["with ECC" if gpu.ecc else "without ECC"] if gpu.ecc is not None else []
        said += ["cut into instances (MIG)"] if gpu.mig else []
        kinds.setdefault(", ".join(said), []).append(index)
    for kind, indices in kinds.items():
        yield f"GPU {_span(indices)}", kind
    versions = f"driver {cuda.driver or 'of unknown version'} for CUDA {version(cuda.driver_cuda)}"
    yield "CUDA", f"{versions}, CuPy made for {version(cuda.runtime_cuda)}"
    if len(cuda.gpus) > 1:
        everywhere = all(all(row) for row in cuda.reach)
        reach = "all to all" if everywhere else "; ".join(map(_reach, range(len(cuda.gpus)), cuda.reach))
        absent = [name for name in lacking(facts) if name in network.NEEDED_BY_GPUS.values()]
        yield "GPU to GPU", f"{reach}; chunks go over {network.by_machine(len(cuda.gpus), absent)}"


def _reach(here: int, row: tuple[bool, ...]) -> str:
    others = [str(there) for there, reached in enumerate(row) if reached and there != here]
    return f"{here} reaches {', '.join(others) or 'none'}"


def _span(indices: list[int]) -> str:
    if len(indices) > 1 and indices == list(range(indices[0], indices[-1] + 1)):
        return f"{indices[0]} to {indices[-1]}"
    return ", ".join(map(str, indices))


def _limit(nbytes: int | None) -> str:
    return "unlimited" if nbytes is None else f"limited to {format_nbytes(nbytes)}"
