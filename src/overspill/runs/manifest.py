"""The manifest of a run: what was executed, with which packages, on what machine, when, and how it ended."""

import os
import platform
import sys
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil

from overspill import backend, machine
from overspill.errors import StorageError
from overspill.planning.resources import Resources
from overspill.runs.directory import RunDirectory
from overspill.runs.workflow import Workflow

Status = Literal["running", "done", "failed", "wrong", "interrupted"]

_PACKAGES = ("overspill", "dask", "distributed", "numpy", "scipy", "zarr", "cupy-cuda12x", "cupy-cuda13x", "dask-cuda")


def begin(workflow: Workflow, params: Any, cluster: str | None, resources: Resources) -> dict[str, Any]:
    """The manifest of a run that begins now."""
    return {
        "status": "running",
        "workflow": str(workflow.path),
        "workflow_sha256": workflow.sha256,
        "inputs": inputs(params),
        "cluster": cluster,
        "resources": asdict(resources),
        "packages": packages(),
        "machine": describe_machine(),
        "started": now(),
        "ended": None,
    }


@dataclass(frozen=True, slots=True)
class Begun:
    """What a manifest says that a resumed session needs.

    Attributes
    ----------
    status
        How the last session ended.
    workflow_path, workflow_sha256
        The workflow's file, and its content then.
    inputs
        The files among the parameters as they were then, see `inputs`.
    cluster
        The cluster asked for, None for this machine's default one.
    pool_nbytes, device_nbytes
        The budgets; 0 bytes of a device stand for no GPU.
    """

    status: str
    workflow_path: Path
    workflow_sha256: str
    inputs: dict[str, list[int]]
    cluster: str | None
    pool_nbytes: int
    device_nbytes: int


def read(directory: RunDirectory) -> Begun:
    """The manifest of the run in `directory`.

    Raises
    ------
    UsageError
        If there is none.
    StorageError
        If it is no manifest.
    """
    content = directory.read("manifest")
    try:
        return Begun(
            status=str(content["status"]),
            workflow_path=Path(content["workflow"]),
            workflow_sha256=str(content["workflow_sha256"]),
            inputs=dict(content["inputs"]),
            cluster=None if content["cluster"] is None else str(content["cluster"]),
            pool_nbytes=int(content["resources"]["pool_nbytes"]),
            device_nbytes=int(content["resources"]["device_nbytes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        source = directory.path / "manifest.json"
        raise StorageError(f"{source} is damaged ({error!r}): start a new run") from None


def inputs(params: Any) -> dict[str, list[int]]:
    """Size and time of change, in bytes and ns, of each file that `params` name."""
    values = (getattr(params, field.name) for field in fields(params))
    files = {str(value.resolve()): value.stat() for value in values if isinstance(value, Path) and value.is_file()}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in files.items()}


def packages() -> dict[str, str]:
    """Versions of what computes, as far as it is installed."""
    return {"python": platform.python_version()} | machine.installed(_PACKAGES)


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
