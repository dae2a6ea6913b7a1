"""Starting clusters of workers on this machine, attaching to others, and leaving nothing behind."""

from overspill.cluster.lifetime import Cluster, cluster

__all__ = ["Cluster", "cluster"]
