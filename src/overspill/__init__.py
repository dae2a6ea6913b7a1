"""NumPy-style computation on arrays larger than a GPU, on Dask."""

from overspill.cluster import Cluster, cluster
from overspill.errors import (
    ArrayError,
    ClusterError,
    DTypeError,
    FusionWarning,
    MemoryBudgetError,
    OverspillError,
    StaleTileError,
    StorageError,
    StoreExistsError,
    UsageError,
    WorkflowError,
)
from overspill.ops import Check, elementwise, matmul, plan, to_device, to_host, verify_matmul
from overspill.planning.plan import Plan
from overspill.runs import Nbytes
from overspill.storage import open, save

__version__ = "0.1.0"

__all__ = [
    "ArrayError",
    "Check",
    "Cluster",
    "ClusterError",
    "DTypeError",
    "FusionWarning",
    "MemoryBudgetError",
    "Nbytes",
    "OverspillError",
    "Plan",
    "StaleTileError",
    "StorageError",
    "StoreExistsError",
    "UsageError",
    "WorkflowError",
    "cluster",
    "elementwise",
    "matmul",
    "open",
    "plan",
    "save",
    "to_device",
    "to_host",
    "verify_matmul",
]
