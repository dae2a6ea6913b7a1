"""What every benchmark records beside its figures: the machine, the versions, every repetition."""

import hashlib
import json
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import overspill
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
        "source": tree(Path(overspill.__file__).parent),
    }


def tree(directory: Path) -> str:
    """Git's name of the tree of these files: ``git log --find-object=NAME`` finds the commits around it."""
    entries = {}
    for path in directory.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            entries[f"{path.name}/"] = "40000", tree(path)
        elif path.is_file():
            entries[path.name] = "100644", _object("blob", path.read_bytes())
    # Git sorts a directory as if its name ended in a slash, which it does not write.
    lines = (
        f"{mode} {name.rstrip('/')}".encode() + b"\0" + bytes.fromhex(found)
        for name, (mode, found) in sorted(entries.items())
    )
    return _object("tree", b"".join(lines))


def _object(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


def spread(seconds: list[float]) -> str:
    """Minimum, median and maximum, for a table."""
    return f"{min(seconds):7.3f} {statistics.median(seconds):7.3f} {max(seconds):7.3f}"
