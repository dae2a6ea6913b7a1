"""What doctor says of facts."""

import pytest

from doctor.machines import H200, server
from overspill.cluster import network
from overspill.doctor.report import fact_rows


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ((), network.by_machine(4, [])),
        (("distributed-ucxx-cu13",), "TCP: distributed-ucxx is not installed"),
        (("numba-cuda",), "TCP: numba-cuda is not installed"),
        (("rmm-cu13", "nvidia-nccl-cu13"), network.by_machine(4, [])),
    ],
)
def test_what_carries_chunks_between_gpus(without: tuple[str, ...], said: str) -> None:
    assert dict(fact_rows(server(without=without)))["GPU to GPU"] == f"all to all; chunks go over {said}"


def test_one_gpu_has_nothing_between() -> None:
    assert "GPU to GPU" not in dict(fact_rows(server(cuda={"gpus": (H200,)})))
