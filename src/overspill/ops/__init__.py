"""Operations on Dask arrays: each builds a lazy graph and computes nothing."""

from overspill.ops.matmul import matmul
from overspill.ops.plan import plan
from overspill.ops.residence import to_host

__all__ = ["matmul", "plan", "to_host"]
