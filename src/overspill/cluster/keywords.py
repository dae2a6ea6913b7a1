"""Which keywords a cluster class takes: asked of its signature, since a wrong one fails only once workers start."""

import difflib
import inspect
from collections.abc import Iterable

from distributed import LocalCluster, Nanny, Worker

from overspill.errors import ClusterError

_OURS = {"asynchronous", "config", "data", "ip", "loop", "processes", "scheduler_ip", "start", "worker_class"}
"""Keywords that `overspill.cluster` sets itself, or that the classes accept only to warn of them."""


def accepted(cluster_class: type) -> frozenset[str]:
    """Names of the keywords that `cluster_class` takes, those it passes on to its workers included."""
    names: set[str] = set()
    for layer in (cluster_class, LocalCluster, Nanny, Worker):
        parameters = inspect.signature(layer).parameters.values()
        names.update(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
    return frozenset(names - _OURS)


def check(cluster_class: type, keywords: Iterable[str]) -> None:
    """Refuse what `cluster_class` would not take.

    Raises
    ------
    ClusterError
        Naming the first such keyword, and what may have been meant.
    """
    names = accepted(cluster_class)
    for keyword in keywords:
        if keyword in names:
            continue
        if keyword in _OURS:
            raise ClusterError(f"keyword {keyword!r} is not open to choice here: leave it out")
        raise ClusterError(f"{cluster_class.__name__} takes no keyword {keyword!r}: {_way_out(keyword, names)}")


def _way_out(keyword: str, names: frozenset[str]) -> str:
    close = difflib.get_close_matches(keyword, sorted(names), n=3)
    if not close:
        return "leave it out"
    return f"did you mean {' or '.join(repr(name) for name in close)}?"
