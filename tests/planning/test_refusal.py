import pytest

from cases import resources
from overspill.errors import MemoryBudgetError
from overspill.planning.matmul import plan_matmul
from overspill.planning.operands import Operand

ONCE = Operand((1000,), (1000,))
AGAIN = Operand((1000,), (1000,), "recompute")


def test_operands_that_must_be_held_are_named_with_their_size() -> None:
    with pytest.raises(MemoryBudgetError, match=r"tile budget 1 MiB cannot hold .*\(15\.3 MiB\): raise memory="):
        plan_matmul(ONCE, ONCE, "float64", resources(pool_nbytes=2**20))


def test_chunks_that_a_task_reads_are_named() -> None:
    with pytest.raises(
        MemoryBudgetError, match=r"tile budget 2 MiB cannot hold .* 1000 × 1000 float64 chunks it reads"
    ):
        plan_matmul(AGAIN, AGAIN, "float64", resources(pool_nbytes=2**21))


def test_a_device_too_small_is_named_as_such() -> None:
    with pytest.raises(MemoryBudgetError, match=r"device budget 1000 B cannot hold one .* raise device_memory="):
        plan_matmul(ONCE, ONCE, "float64", resources("cuda", device_nbytes=1000), keep_on_device=True)


def test_it_can_be_caught_as_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        plan_matmul(ONCE, ONCE, "float64", resources(pool_nbytes=0))
