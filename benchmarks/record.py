"""What every benchmark records beside its figures: the machine, the versions, every repetition."""

import json
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from overspill import backend, machine
from overspill.doctor.look import huge_pages
from overspill.runs.manifest import packages

PEERS = ("jax", *(name + cuda for name in ("rmm-", "distributed-ucxx-", "nvidia-cublas-") for cuda in ("cu12", "cu13")))
"""Packages that only contenders use."""

RESULTS = Path(__file__).parent / "results"


def write(name: str, figures: dict[str, Any], directory: Path = RESULTS) -> Path:
    """Write ``NAME.json`` in `directory` with the figures and where they were obtained."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{name}.json"
    path.write_text(json.dumps({"where": where(), **figures}, indent=1) + "\n")
    return path


def where() -> dict[str, Any]:
    """The machine and the versions of what ran on it."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": machine.processor(),
        "cores": machine.cpu_count(),
        "gpus": [gpu.name for gpu in backend.gpus()],
        "kernel": platform.release(),
        "huge_shared_pages": huge_pages("shmem_enabled"),
        "versions": packages() | machine.installed(PEERS),
    }


def spread(seconds: list[float]) -> str:
    """Minimum, median and maximum, for a table."""
    return f"{min(seconds):7.3f} {statistics.median(seconds):7.3f} {max(seconds):7.3f}"
