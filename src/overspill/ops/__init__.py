"""Operations on Dask arrays: each builds a lazy graph and computes nothing, but for checks, which compute."""

from overspill.ops.check import Check
from overspill.ops.elementwise import elementwise
from overspill.ops.freivalds import verify_matmul
from overspill.ops.matmul import matmul
from overspill.ops.plan import plan
from overspill.ops.reductions import all, any, argmax, argmin, histogram, max, mean, min, norm, std, sum, var
from overspill.ops.relayout import rechunk, transpose
from overspill.ops.residence import to_device, to_host

__all__ = [
    "Check",
    "all",
    "any",
    "argmax",
    "argmin",
    "elementwise",
    "histogram",
    "matmul",
    "max",
    "mean",
    "min",
    "norm",
    "plan",
    "rechunk",
    "std",
    "sum",
    "to_device",
    "to_host",
    "transpose",
    "var",
    "verify_matmul",
]
