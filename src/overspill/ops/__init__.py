"""Operations on Dask arrays: each builds a lazy graph and computes nothing, but for checks, which compute."""

from overspill.ops.check import Check
from overspill.ops.elementwise import elementwise
from overspill.ops.freivalds import verify_matmul
from overspill.ops.matmul import matmul
from overspill.ops.plan import plan
from overspill.ops.residence import to_device, to_host

__all__ = ["Check", "elementwise", "matmul", "plan", "to_device", "to_host", "verify_matmul"]
