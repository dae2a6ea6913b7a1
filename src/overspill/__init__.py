"""NumPy-style computation on arrays larger than a GPU, on Dask."""

from overspill.errors import (
    ArrayError,
    ClusterError,
    DTypeError,
    MemoryBudgetError,
    OverspillError,
    StaleTileError,
    StorageError,
    StoreExistsError,
    UsageError,
    WorkflowError,
)
from overspill.ops import matmul, plan, to_host

__version__ = "0.1.0"

__all__ = [
    "ArrayError",
    "ClusterError",
    "DTypeError",
    "MemoryBudgetError",
    "OverspillError",
    "StaleTileError",
    "StorageError",
    "StoreExistsError",
    "UsageError",
    "WorkflowError",
    "matmul",
    "plan",
    "to_host",
]
