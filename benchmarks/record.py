"""What every benchmark records beside its figures: the machine, the versions, every repetition."""

import contextlib
import json
import os
import platform
import statistics
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from overspill import backend, machine
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
        "processor": _processor(),
        "cores": machine.cpu_count(),
        "gpus": [gpu.name for gpu in backend.gpus()],
        "kernel": platform.release(),
        "versions": packages() | _peers(),
    }


def spread(seconds: list[float]) -> str:
    """Minimum, median and maximum, for a table."""
    return f"{min(seconds):7.3f} {statistics.median(seconds):7.3f} {max(seconds):7.3f}"


def _peers() -> dict[str, str]:
    found = {}
    for name in PEERS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or os.uname().machine
