"""The manifest of a run: what was executed, with which packages, on what machine, when, and how it ended."""

import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import psutil

from overspill import backend, machine
from overspill.planning.resources import Resources
from overspill.runs.workflow import Workflow

Status = Literal["running", "done", "failed", "wrong", "interrupted"]

PACKAGES = ("overspill", "dask", "distributed", "numpy", "scipy", "zarr", "cupy-cuda12x", "cupy-cuda13x", "dask-cuda")


def begin(workflow: Workflow, cluster: str | None, resources: Resources) -> dict[str, Any]:
    """The manifest of a run that begins now."""
    return {
        "status": "running",
        "workflow": str(workflow.path),
        "workflow_sha256": workflow.sha256,
        "cluster": cluster,
        "resources": asdict(resources),
        "packages": packages(),
        "machine": describe_machine(),
        "started": now(),
        "ended": None,
    }


def packages() -> dict[str, str]:
    """Versions of what computes, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe_machine() -> dict[str, Any]:
    """What this host is."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": machine.cpu_count(),
        "host_nbytes": int(psutil.virtual_memory().total),
        "gpus": [asdict(gpu) for gpu in backend.gpus()],
        "pid": os.getpid(),
        "command": sys.argv,
    }


def now() -> str:
    """The time, as ISO 8601 with its zone."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
