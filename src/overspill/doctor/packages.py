"""Which packages are installed, and whether they agree on each other's versions."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import requires

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from overspill import machine

REQUIRED = ("overspill", "dask", "distributed", "numpy", "scipy", "zarr", "bokeh")

OPTIONAL = (
    "cupy-cuda12x",
    "cupy-cuda13x",
    "cupy",
    "dask-cuda",
    "rmm-cu12",
    "rmm-cu13",
    "distributed-ucxx-cu12",
    "distributed-ucxx-cu13",
    "numba-cuda",
    "nvidia-nccl-cu12",
    "nvidia-nccl-cu13",
    "nvidia-ml-py",
)
"""What a GPU needs, or is better with."""


def installed() -> dict[str, str]:
    """Versions by name, of those packages that are installed."""
    return machine.installed((*REQUIRED, *OPTIONAL))


def requirements(names: Iterable[str]) -> dict[str, list[str]]:
    """What installed packages ask for, by name, as they write it."""
    return {name: list(requires(name) or []) for name in names}


def disagreements(wanted: Mapping[str, Iterable[str]], versions: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Who asks for what, and which version of it is there instead.

    Parameters
    ----------
    wanted
        Requirements of packages, by name, as `requirements` gives them; those of extras do not count.
    versions
        What is installed; other packages are not looked at.

    Examples
    --------
    >>> list(disagreements({"dask-cuda": ["dask<2026.7.2,>=2026.7.1"]}, {"dask": "2026.8.0"}))
    [('dask-cuda', 'dask<2026.7.2,>=2026.7.1', '2026.8.0')]
    """
    for name, texts in wanted.items():
        for text in texts:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            there = versions.get(canonicalize_name(requirement.name))
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if there and applies and not requirement.specifier.contains(there, prereleases=True):
                yield name, f"{requirement.name}{requirement.specifier}", there
